"""Norm and direction: the student's feature points to the teacher's class mean, and is as long as the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from limbeck.functional import distillation_kl, norm_and_direction
from limbeck.layers.projectors import linear_projector
from limbeck.methods.base import Declared, Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class NDConfig(Settings):
    temperature: float = setting(4.0, "of the divergence", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence, which the norm and direction are added to")
    weight_direction: Weight = weight(1.0, "of norm and direction (lambda)")


class ND(Method):
    r"""Pull the student's features to the teacher's mean of their class, and reward their length.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_i KL(p_t^T(i) \,\|\, p_s^T(i)) + w_n \frac1p
        \sum_{i\,\text{paired}} \Big(1 - \frac{\langle r(f_s(i)), c_{y_i} / \|c_{y_i}\| \rangle}{\max(\|r(f_s(i))\|,
        \|f_t(i)\|)}\Big)

    with r the identity where the widths agree, else a linear map that is not exported, and c the class means of the
    teacher's features over the whole bank, by its labels, or where it has none by the class that the teacher holds
    likeliest, as for a pair without a label. See :func:`limbeck.functional.norm_and_direction`.

    Paper: Wang et al. (KD++), arXiv 2305.17007, and the authors' code. Deviation: it knows the label of every row.
    """

    needs = {"features", "logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "direction": "pair"}
    row = 130
    Config = NDConfig

    @classmethod
    def declared(cls, config: NDConfig) -> Declared:
        return super().declared(config).with_(class_means=True)

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        d, width = shapes.student.width, shapes.teacher.width
        self.project: nn.Module = nn.Identity() if d == width else linear_projector(d, width)
        self.register_buffer("centres", shapes.teacher.means.clone())

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        t, (rows, said) = self.config.temperature, b.teacher.paired()
        theirs, known = said.log_predictions(), b.classes[rows]
        classes = torch.where(known >= 0, known, theirs.argmax(-1))
        direction = norm_and_direction(
            self.project(b.student.features[rows]),
            said["features"],
            cast(Tensor, self.centres)[classes],
            reduction="sum",
        )
        match = distillation_kl(b.student.logits[rows], theirs, temperature=t, reduction="sum")
        return {"supervised": b.label_loss(), "distillation": match, "direction": direction}
