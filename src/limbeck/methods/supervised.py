"""No teacher: the student learns from its labels alone. The baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.methods.base import Declared, Method, Settings, StepBatch, Weight, setting, weight
from limbeck.methods.views.mixtures import drawn_mixtures, mixed_label_loss, mixtures


@dataclass
class SupervisedConfig(Settings):
    label_smoothing: float = setting(0.0, "of the labels of a problem with classes", low=0, below=1)
    mixup: float = setting(
        0.0,
        "learn from mixtures of two rows, their shares of a Beta law of this alpha; 0: from the rows",
        low=0,
        later=True,
    )
    weight_supervised: Weight = weight(1.0)


class Supervised(Method):
    r"""The same student taught by nobody: the loss of its problem on the labelled rows.

    .. math:: L = \frac1{n_l} \sum_{i\,\text{labelled}} -\log p_s(y_i | x_i)

    for classes; the squared error in a regression, the binary cross-entropy for several labels. With ``mixup`` it is
    shown mixtures of two rows alone, for classes: :math:`\lambda\, CE(z, y_1) + (1 - \lambda)\, CE(z, y_2)`.

    Paper: none; the baseline. ``mixup``: Zhang et al., ICLR 2018, arXiv 1710.09412.
    """

    units = {"supervised": "labelled"}
    Config = SupervisedConfig

    @classmethod
    def declared(cls, config: SupervisedConfig) -> Declared:
        plain = super().declared(config)
        if not config.mixup:
            return plain
        if config.label_smoothing:
            raise ConfigError(
                "Mixtures have soft labels; set label_smoothing to 0, or mixup to 0 (a problem's own smoothing stays)."
            )
        return plain.with_(problems=frozenset({"classification"}), student="asked")

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        if not self.config.mixup:
            return {"supervised": b.label_loss(label_smoothing=self.config.label_smoothing)}
        made = mixtures(b.inputs, "mixup", self.config.mixup, drawn_mixtures(b))
        return {"supervised": mixed_label_loss(b, b.run(made.inputs).logits, made)}
