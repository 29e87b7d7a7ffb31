"""Streamlined distillation: each prediction, and the directions of predictions relative to each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import direction_gap, distillation_kl
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class StreamlinedConfig(Settings):
    temperature: float = setting(4.0, "softens both sides of the divergence (T)", above=0)
    ridge: float = setting(0.1, "added to the variances of the directions (lambda)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence of each prediction")
    weight_direction: Weight = weight(1.0, "of the directions, a mean over the rows of a batch")


class Streamlined(Method):
    r"""Match each prediction, and the cosines between the predictions of a batch by Mahalanobis' distance.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} KL(p_t^T(i) \,\|\, p_s^T(i))
        + w_r \frac1p \sum_i \sqrt{D_i^T (\Sigma + \lambda I)^{-1} D_i}

    see :func:`limbeck.functional.direction_gap`. Where the bank holds log-probabilities, their directions are compared.

    Paper: Jeong et al., Streamlined Knowledge Distillation, CVPR 2026. Deviation: weights of 1.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "distillation": "pair", "direction": "batch"}
    Config = StreamlinedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        ours = b.student.logits[rows]
        match = distillation_kl(ours, said.log_predictions(), temperature=c.temperature, reduction="sum")
        directions = direction_gap(ours, said["logits"], ridge=c.ridge)
        return {"supervised": b.label_loss(), "distillation": match, "direction": directions}
