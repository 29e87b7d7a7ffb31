"""Hint regression: the student's features, through a learned regressor, reproduce the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.functional import hint_mse
from limbeck.layers import linear_projector
from limbeck.methods.base import Method, StepBatch, Widths, check_range, check_types
from limbeck.methods.supervised import supervised_term


@dataclass
class FitNetsConfig:
    """Settings of ``fitnets``.

    Args:
        weight_supervised: float >= 0, default 1.
        weight_hint: float >= 0, default 1 (the paper trains the hint first; here both terms are joint).
    """

    weight_supervised: float = 1.0
    weight_hint: float = 1.0

    def __post_init__(self) -> None:
        check_types("fitnets", self)
        check_range("fitnets", "weight_supervised", self.weight_supervised, 0, None)
        check_range("fitnets", "weight_hint", self.weight_hint, 0, None)


class FitNets(Method):
    r"""Regress the teacher's features from the student's, through a trainable linear map that is not exported.

    .. math:: L = w_s L_{CE} + w_h \frac1p \sum_{i\,\text{paired}} \frac1D \|r(f_s(i)) - f_t(i)\|^2

    Paper: Romero et al., ICLR 2015, arXiv 1412.6550, equation 3. Deviation: the hint is the penultimate feature
    and both terms are trained together, as later libraries do; the mean over the width D is taken, so that the
    weight does not depend on it.
    """

    needs = {"features"}
    links = {"paired", "partly_paired", "by_class"}
    units = {"supervised": "labelled", "hint": "pair"}
    Config = FitNetsConfig

    def __init__(self, config: Any, widths: Widths) -> None:
        super().__init__(config, widths)
        assert widths.teacher is not None  # guaranteed by `needs`
        self.regressor = linear_projector(widths.student, widths.teacher)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, teacher = b.paired_teacher()
        assert teacher.features is not None
        hint = hint_mse(self.regressor(b.student.features[rows]), teacher.features, reduction="sum")
        return {"supervised": supervised_term(b), "hint": hint / teacher.features.shape[1]}

    def weights(self, progress: float) -> dict[str, float]:
        return {"supervised": self.config.weight_supervised, "hint": self.config.weight_hint}
