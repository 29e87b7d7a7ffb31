"""Dual-head distillation: the teacher's logits teach a second head, and through it the student's features alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from limbeck.functional import binary_kl_norm
from limbeck.layers.projectors import mlp_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class DHKDConfig(Settings):
    temperature: float = setting(2.0, "of the difference of the logits (T)", above=0)
    nonlinear: bool = setting(False, "the second head has a hidden layer")
    weight_supervised: Weight = weight(1.0)
    weight_logits: Weight = weight(1.0, "of the logits of the second head (alpha)")


class DHKD(Method):
    r"""Labels teach the student's own head, the teacher's logits a second one on the same features.

    .. math:: L = w_s L_{CE}(z_s) + w_l \frac{T^2}{p} \sum_{i\,\text{paired}} \sum_c
        KL\big(\tfrac12 \,\|\, \sigma\big((z_a^c(i) - z_t^c(i)) / T\big)\big)

    with z_a the logits of the second head, which is not exported: the two losses pull a shared head apart and the
    features together. See :func:`limbeck.functional.binary_kl_norm`.

    Paper: Yang et al., KDD 2025, arXiv 2411.08937. Deviation: without the alignment of the two gradients, an option of
    the authors' optimiser; the hidden layer has a LayerNorm where theirs has a BatchNorm.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "logits": "pair"}
    row = 21
    Config = DHKDConfig

    def __init__(self, config: DHKDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        d: Any = shapes.student.width
        c = shapes.student.n_outputs
        self.second_head = mlp_projector(d, c, hidden=200) if config.nonlinear else nn.Linear(d, c)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        logits = self.second_head(b.student.features[rows])
        gap = binary_kl_norm(logits, said["logits"], temperature=self.config.temperature, reduction="sum")
        return {"supervised": b.label_loss(), "logits": gap}
