"""Response distillation (Hinton et al. 2015), and supervision transfer on unlabelled pairs (Gupta et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import distillation_kl
from limbeck.methods.base import Method, StepBatch, check_range, check_types
from limbeck.methods.supervised import supervised_term


@dataclass
class KDConfig:
    """Settings of ``kd``.

    Args:
        temperature: float > 0, default 4 (the paper's T); 1 for supervision transfer from a calibrated teacher.
        weight_supervised: float >= 0, default 1 (the paper's 1 - alpha, not tied to the other weight here).
        weight_distillation: float >= 0, default 1 (the paper's alpha).
    """

    temperature: float = 4.0
    weight_supervised: float = 1.0
    weight_distillation: float = 1.0

    def __post_init__(self) -> None:
        check_types("kd", self)
        check_range("kd", "temperature", self.temperature, 0, None, closed_low=False)
        check_range("kd", "weight_supervised", self.weight_supervised, 0, None)
        check_range("kd", "weight_distillation", self.weight_distillation, 0, None)


class KD(Method):
    r"""Match the teacher's softened class probabilities, row by row.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} KL(p_t^{T}(i) \,\|\, p_s^{T}(i))

    On unlabelled pairs this is supervision transfer: the teacher sees the image, the student hears the sound.
    With ``by_class`` links each labelled row meets a random teacher row of its own class, which adds at most a
    prior over classes.

    Paper: Hinton, Vinyals, Dean, arXiv 1503.02531, section 2; Gupta, Hoffman, Malik, CVPR 2016, arXiv 1507.00448.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired", "by_class"}
    units = {"supervised": "labelled", "distillation": "pair"}
    Config = KDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, teacher = b.paired_teacher()
        logits_s, log_probs_t = b.student.logits[rows], teacher.log_probabilities()
        distillation = distillation_kl(
            logits_s, log_probs_t, temperature=self.config.temperature, reduction="sum"
        )
        return {"supervised": supervised_term(b), "distillation": distillation}

    def weights(self, progress: float) -> dict[str, float]:
        return {
            "supervised": self.config.weight_supervised,
            "distillation": self.config.weight_distillation,
        }
