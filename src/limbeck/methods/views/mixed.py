"""Distillation on mixed inputs: student and teacher are asked about the same mixtures of two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.functional import distillation_kl, standardised_logits
from limbeck.methods.base import Declared, Method, Settings, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset
from limbeck.methods.views.mixtures import Mixtures, drawn_mixtures, joined, mixed_label_loss, mixtures


@dataclass
class MixedConfig(Settings):
    mix: Literal["mixup", "cutmix"] = setting("mixup", "means of two rows, or a box of one inside the other")
    alpha: float = setting(1.0, "of the Beta law that the shares are drawn from", above=0)
    candidates: int = setting(
        1, "mixtures made of each row, of which those that the teacher is least sure of are taken", low=1
    )
    shares: Literal["batch", "row"] = setting(
        "batch", "one share for all mixtures, or one for each (mixup)", later=True
    )
    partial: float = setting(
        1.0, "how many of the rows are mixed; the others stay as they are", low=0, high=1, later=True
    )
    labels: Literal["rows", "mixtures"] = setting(
        "rows",
        "the label loss is that of the rows as they are, or of the mixtures, by their shares",
        later=True,
    )
    standardise: bool = setting(
        False, "predictions of mixtures at mean 0 and spread 1: the spread is the temperature", later=True
    )
    temperature: float = setting(4.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence on the rows as they are")
    weight_mixed: Weight = weight(1.0, "of the divergence on the mixtures, a mean over them")


class Mixed(Method):
    r"""Match the teacher on the batch's rows, and on mixtures of them, which need no label.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} KL(p_t^T(i) \,\|\, p_s^T(i))
        + w_m \frac{T^2}{n} \sum_j KL(p_t^T(\tilde x_j) \,\|\, p_s^T(\tilde x_j))

    Both sides see the very same mixtures, so the teacher must be live and of the student's modality
    (``teacher: {live: ..., view: same}``). With ``candidates: k``, k n mixtures are made and the n of highest entropy
    under the teacher are kept. With ``labels: mixtures`` the label loss is
    :math:`\lambda\, CE(p_s(\tilde x), y_1) + (1 - \lambda)\, CE(p_s(\tilde x), y_2)`, of the labels that are known;
    where the rows as they are weigh nothing, the student is then asked about the mixtures alone.

    Paper: mixup, Zhang et al., ICLR 2018, arXiv 1710.09412; CutMix, Yun et al., ICCV 2019, arXiv 1905.04899; with a
    teacher, Beyer et al., CVPR 2022, arXiv 2106.05237, Wang et al. (CutMixPick), NeurIPS 2022, arXiv 2012.02909, and
    Choi et al. (MIX-KD), WACV 2023, arXiv 2211.03946. Deviation from MIX-KD's code: of a share of 0.1 a tenth of the
    rows is mixed, as its settings say, where the code draws those that stay with replacement and so mixes two fifths.
    """

    needs = {"logits"}
    links = {"paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "mixed": "batch"}
    Config = MixedConfig

    @classmethod
    def declared(cls, config: MixedConfig) -> Declared:
        plain = super().declared(config)
        if config.labels == "rows" or config.weight_distillation != 0:
            return plain
        units = {term: unit for term, unit in cls.units.items() if term != "distillation"}
        return plain.with_(units=units, student="asked")

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c = self.config
        (name,) = b.teachers
        made, theirs = self._mixtures(b, name)
        ours = b.run(made.inputs).logits
        if c.standardise:
            ours, theirs = standardised_logits(ours), standardised_logits(theirs)
        terms = {"mixed": distillation_kl(ours, theirs, temperature=c.temperature)}
        if "distillation" in self.plan.units:
            rows, said = b.teacher.paired()
            terms["distillation"] = distillation_kl(
                b.student.logits[rows], said.log_predictions(), temperature=c.temperature, reduction="sum"
            )
        on_rows = c.labels == "rows"
        return terms | {"supervised": b.label_loss() if on_rows else mixed_label_loss(b, ours, made)}

    @torch.no_grad()
    def _mixtures(self, b: StepBatch, name: str) -> tuple[Mixtures, Tensor]:
        """Mixtures of as many rows as there are, and the teacher's log-probabilities of them."""
        c, draw = self.config, drawn_mixtures(b)
        by_row = c.shares == "row"
        made = joined(
            [
                mixtures(b.inputs, c.mix, c.alpha, draw, by_row=by_row, partial=c.partial)
                for _ in range(c.candidates)
            ]
        )
        said = b.ask(name, made.inputs).log_predictions()
        if c.candidates == 1:
            return made, said
        kept = (-said.exp() * said).sum(-1).topk(len(b)).indices
        return made.take(kept), said[kept]


PRESETS = {
    "mixup_kd": Preset(
        "mixup, Zhang et al., ICLR 2018, arXiv 1710.09412, with a teacher asked about the mixtures",
        fixed={"mix": "mixup", "candidates": 1},
    ),
    "mix_kd": Preset(
        "Choi et al., WACV 2023, arXiv 2211.03946, the authors' code: few rows mixed, the spread as temperature",
        fixed={"mix": "mixup", "candidates": 1, "shares": "row", "labels": "mixtures", "standardise": True},
        defaults={
            "partial": 0.1,
            "temperature": 1.0,
            "weight_supervised": 0.1,
            "weight_mixed": 0.9,
            "weight_distillation": 0.0,
        },
        row=46,
    ),
    "cutmix_pick": Preset(
        "Wang et al., NeurIPS 2022, arXiv 2012.02909, the authors' code (teacher's entropy, two candidates)",
        fixed={"mix": "cutmix"},
        defaults={"candidates": 2},
        row=106,
    ),
    "function_matching": Preset(
        "Beyer et al., CVPR 2022, arXiv 2106.05237, section 3: the same views and mixtures for both, no labels",
        fixed={"mix": "mixup", "candidates": 1},
        defaults={"temperature": 1.0, "weight_supervised": 0.0, "weight_distillation": 0.0},
        row=129,
    ),
}
