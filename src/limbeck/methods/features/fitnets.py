"""Hint regression: the student's features, through a learned regressor, reproduce the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.functional import hint_mse
from limbeck.layers.projectors import linear_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, weight


@dataclass
class FitNetsConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_hint: Weight = weight(1.0, "of the hint (the paper trains it first; here both terms are joint)")


class FitNets(Method):
    r"""Regress the teacher's features from the student's, through a trainable linear map that is not exported.

    .. math:: L = w_s L_{CE} + w_h \frac1p \sum_{i\,\text{paired}} \frac1D \|r(f_s(i)) - f_t(i)\|^2

    Paper: Romero et al., ICLR 2015, arXiv 1412.6550, equation 3. Deviation: the hint is the penultimate feature
    and both terms are trained together, as later libraries do (the chain ``fitnets`` trains in the two stages of the
    paper, with ``hints`` and ``kd``); the mean over the width D is taken, so that the
    weight does not depend on it.
    """

    needs = {"features"}
    links = {"paired", "partly_paired", "by_class"}
    units = {"supervised": "labelled", "hint": "pair"}
    row = 173
    Config = FitNetsConfig

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.regressor = linear_projector(shapes.student.width, shapes.teacher.width)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        hint = hint_mse(self.regressor(b.student.features[rows]), said["features"], reduction="sum")
        return {"supervised": b.label_loss(), "hint": hint / said["features"].shape[1]}
