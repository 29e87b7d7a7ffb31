"""Response distillation: the student's distribution follows the teacher's, by a parametric divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from limbeck.functional.response.divergence import Divergence
from limbeck.functional.response.targets import interpolated_logits, standardised_logits
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset
from limbeck.methods.settings import at
from limbeck.problems.base import Comparison


@dataclass
class DivergenceConfig(Settings):
    divergence: Divergence = setting("forward_kl", "which one; mse compares logits")
    beta: float = setting(0.5, "of jsd and the skewed ones: the share of the mixture", low=0, high=1)
    temperature: float = setting(
        4.0, "softens both sides (T); 1 for supervision transfer from a calibrated teacher", above=0
    )
    standardise: bool = setting(
        False, "compare logits at mean 0 and spread 1 a row, blind to how sure a side is"
    )
    teacher_share: Weight = setting(
        1.0,
        "of the teacher's logits in the target, the rest the student's own; a curve moves it",
        low=0,
        high=1,
    )
    rest: Literal["one_bin", "renormalised"] = setting(
        "one_bin",
        "of a teacher's likeliest tokens: all others are one outcome, or are left out (forward_kl alone)",
    )
    weight_supervised: Weight = weight(
        1.0, "of the label loss (1 - alpha in the papers, not tied to alpha here)"
    )
    weight_distillation: Weight = weight(1.0, "of the divergence (alpha)")


class Divergences(Method):
    r"""Match the teacher's softened class probabilities, row by row.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} D(p_t^{T}(i) \,\|\, p_s^{T}(i))

    with D a divergence (see :func:`limbeck.functional.divergence`), by default the Kullback-Leibler divergence. On
    unlabelled pairs this is supervision transfer: the teacher sees the image, the student hears the sound. With
    ``by_class`` links each labelled row meets a random teacher row of its own class, which adds at most a prior over
    classes.

    Where a row has several positions (tokens, pixels), D is a sum over those that count; of written answers p counts
    their tokens, and the teacher's predictions come from its hidden states and head, or from its likeliest tokens.

    Paper: Hinton, Vinyals, Dean, arXiv 1503.02531, section 2; Gupta, Hoffman, Malik, CVPR 2016, arXiv 1507.00448.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired", "by_class"}
    problems = {"classification", "choice", "token_classes", "segmentation", "generation"}
    units = {"supervised": "labelled", "distillation": "match"}
    Config = DivergenceConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        share = at(c.teacher_share, b.progress)
        changes = c.standardise or share < 1
        how = Comparison(
            c.divergence,
            c.beta,
            c.temperature,
            c.rest,
            (lambda ours, theirs: _changed(ours, theirs, c.standardise, share)) if changes else None,
        )
        match = b.problem.divergence(b.student, said, b.targets, rows, how)
        return {"supervised": b.label_loss(), "distillation": match}


def _changed(ours: Tensor, theirs: Tensor, standardise: bool, share: float) -> tuple[Tensor, Tensor]:
    """What is compared of the logits of both sides."""
    if standardise:
        ours, theirs = standardised_logits(ours), standardised_logits(theirs)
    return ours, interpolated_logits(ours, theirs, share) if share < 1 else theirs


PRESETS = {
    "kd": Preset(
        "Hinton, Vinyals, Dean, arXiv 1503.02531, section 2",
        fixed={"divergence": "forward_kl", "standardise": False, "teacher_share": 1.0},
    ),
    "logit_mse": Preset(
        "Ba and Caruana, NeurIPS 2014, arXiv 1312.6184, equation 1",
        fixed={"divergence": "mse", "standardise": False, "teacher_share": 1.0},
    ),
    "logit_std": Preset(
        "Sun et al., CVPR 2024, arXiv 2403.01427, algorithm 1",
        fixed={"divergence": "forward_kl", "standardise": True, "teacher_share": 1.0},
        defaults={"temperature": 2.0, "weight_distillation": 9.0},
    ),
    # its adaptive step moves t by less than the third digit in runs of ordinary length, and is left out
    "taid": Preset(
        "Shing et al., ICLR 2025, arXiv 2501.16937, section 3, with the linear schedule",
        fixed={"divergence": "forward_kl", "standardise": False},
        defaults={"teacher_share": {"from": 0.4, "to": 1.0, "until": 1.0}, "temperature": 1.0},
        row=6,
    ),
}
