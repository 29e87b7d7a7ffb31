"""No teacher: the student learns from its labels alone. The baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from limbeck.functional.precision import widened
from limbeck.methods.base import Method, StepBatch, check_range, check_types


@dataclass
class SupervisedConfig:
    """Settings of ``supervised``.

    Args:
        label_smoothing: float in [0, 1), default 0.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_types("supervised", self)
        check_range("supervised", "label_smoothing", self.label_smoothing, 0, 1, closed_high=False)


def supervised_term(b: StepBatch, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy summed over the labelled rows; zero, with a gradient path, when there is none."""
    (logits,) = widened(b.student.logits)
    return F.cross_entropy(
        logits, b.labels, ignore_index=-100, label_smoothing=label_smoothing, reduction="sum"
    )


class Supervised(Method):
    r"""The same student taught by nobody: cross-entropy on the labelled rows.

    .. math:: L = \frac1{n_l} \sum_{i\,\text{labelled}} -\log p_s(y_i | x_i)

    Paper: none; the baseline. Needs: nothing. Links: none.
    """

    units = {"supervised": "labelled"}
    Config = SupervisedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        return {"supervised": supervised_term(b, self.config.label_smoothing)}

    def weights(self, progress: float) -> dict[str, float]:
        return {"supervised": 1.0}
