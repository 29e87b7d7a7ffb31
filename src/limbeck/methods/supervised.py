"""No teacher: the student learns from its labels alone. The baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class SupervisedConfig(Settings):
    label_smoothing: float = setting(0.0, "of the labels of a problem with classes", low=0, below=1)
    weight_supervised: Weight = weight(1.0)


class Supervised(Method):
    r"""The same student taught by nobody: the loss of its problem on the labelled rows.

    .. math:: L = \frac1{n_l} \sum_{i\,\text{labelled}} -\log p_s(y_i | x_i)

    for classes; the squared error in a regression, the binary cross-entropy for several labels.

    Paper: none; the baseline.
    """

    units = {"supervised": "labelled"}
    Config = SupervisedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        return {"supervised": b.label_loss(label_smoothing=self.config.label_smoothing)}
