"""No teacher: the student learns from its labels alone. The baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError
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
    """The student's :func:`label_loss`."""
    return label_loss(b.student.logits, b.labels, b.targets, label_smoothing)


def label_loss(
    logits: Tensor, labels: Tensor, targets: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Sum over the labelled rows, zero, with a gradient path, when there is none: of the cross-entropy, or, given the
    ``targets`` ``[n]`` of a regression, of the squared error of the one logit (labels tell where a target is known).

    Raises: ConfigError for label smoothing in a regression.
    """
    (logits,) = widened(logits)
    if targets is None:
        return F.cross_entropy(
            logits, labels, ignore_index=-100, label_smoothing=label_smoothing, reduction="sum"
        )
    if label_smoothing:
        raise ConfigError("Label smoothing is for classes; set label_smoothing to 0 for a regression.")
    known = labels >= 0
    return (logits[known, 0] - targets[known]).square().sum()


class Supervised(Method):
    r"""The same student taught by nobody: cross-entropy on the labelled rows (squared error in a regression).

    .. math:: L = \frac1{n_l} \sum_{i\,\text{labelled}} -\log p_s(y_i | x_i)

    Paper: none; the baseline. Needs: nothing. Links: none.
    """

    units = {"supervised": "labelled"}
    Config = SupervisedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        return {"supervised": supervised_term(b, self.config.label_smoothing)}

    def weights(self, progress: float) -> dict[str, float]:
        return {"supervised": 1.0}
