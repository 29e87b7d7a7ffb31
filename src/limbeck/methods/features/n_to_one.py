"""N-to-one matching: each of N groups of expanded student features reproduces the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.functional import many_to_one
from limbeck.layers.projectors import linear_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class NToOneConfig(Settings):
    groups: int = setting(8, "N, how often the teacher's features are reproduced", low=1)
    weight_supervised: Weight = weight(1.0)
    weight_match: Weight = weight(1.0, "of the match, a sum over groups")


class NToOne(Method):
    r"""Expand the student's feature to N times the teacher's width, and let every part reproduce the teacher's.

    .. math:: L = w_s L_{CE} + w_m \frac1p \sum_{i\,\text{paired}} \sum_{k=1}^N \frac1D \|W_k f_s(i) - f_t(i)\|^2

    The map is not exported.

    Paper: NORM on pooled features, Liu et al., ICLR 2023, arXiv 2305.13803, as UCMKD (arXiv 2606.10504) compares with
    it. Deviation: NORM itself expands convolutional maps in a residual block that stays in the student.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "match": "pair"}
    Config = NToOneConfig

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.expand = linear_projector(shapes.student.width, config.groups * shapes.teacher.width, bias=False)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        match = many_to_one(self.expand(b.student.features[rows]), said["features"], reduction="sum")
        return {"supervised": b.label_loss(), "match": match}
