"""Deep mutual learning: two students that start apart teach each other while they learn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import distillation_kl
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class DMLConfig(Settings):
    temperature: float = setting(1.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_fellow_supervised: Weight = weight(1.0)
    weight_to_student: Weight = weight(1.0, "of what the fellow teaches the student")
    weight_to_fellow: Weight = weight(1.0, "of what the student teaches the fellow")


class DML(Method):
    r"""The student and a fellow learn the labels, and each follows what the other predicts.

    .. math:: L = w_s L_{CE}(z_s) + w_f L_{CE}(z_f) + w_1 \frac{T^2}{n} \sum_i KL(p_f(i) \,\|\, p_s(i))
        + w_2 \frac{T^2}{n} \sum_i KL(p_s(i) \,\|\, p_f(i))

    In each divergence the first side is held. The fellow is named in the recipe,
    ``peers: {fellow: {model: small_conv_net}}``; the student is what ships (``training.scores: fellow``: the fellow).

    Paper: Zhang et al., CVPR 2018, arXiv 1706.00384, equations 3 to 6, for two networks. Deviation: both take their
    step from one forward of each, where the paper updates one and then asks it anew for the other.
    """

    problems = {"classification", "choice"}
    units = {
        "supervised": "labelled",
        "fellow_supervised": "labelled",
        "to_student": "row",
        "to_fellow": "row",
    }
    detached = {"fellow_supervised", "to_fellow"}
    peers = {"fellow"}
    Config = DMLConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        s, f, t = b.student, b.peer("fellow"), self.config.temperature
        return {
            "supervised": b.label_loss(),
            "fellow_supervised": b.label_loss(f),
            "to_student": distillation_kl(s.logits, f.logits, temperature=t, reduction="sum"),
            "to_fellow": distillation_kl(f.logits, s.logits, temperature=t, reduction="sum"),
        }
