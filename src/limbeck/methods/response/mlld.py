"""Multi-level logit distillation: rows, how rows go together, and how classes go together, at several temperatures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import distillation_kl, prediction_products
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class MLLDConfig(Settings):
    temperatures: list[float] = setting(
        [2.0, 3.0, 4.0, 5.0, 6.0], "at each of which all three levels are compared"
    )
    weight_supervised: Weight = weight(1.0)
    weight_instance: Weight = weight(1.0, "of each row's divergence, a sum over the temperatures")
    weight_batch: Weight = weight(1.0, "of the products of rows, a sum over the temperatures")
    weight_class: Weight = weight(1.0, "of the products of classes, a sum over the temperatures")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperatures or min(self.temperatures) <= 0:
            raise ConfigError(
                f"Setting 'temperatures' must be a list of numbers above 0; it is {self.temperatures!r}."
            )


class MLLD(Method):
    r"""Match predictions row by row, and the inner products of the batch's rows and of its classes.

    .. math:: L = w_s L_{CE} + \sum_T \Big( w_i \frac{T^2}{p} \sum_i KL(p_t^T(i) \,\|\, p_s^T(i))
        + w_b \frac1p \| P_s P_s^\top - P_t P_t^\top \|_F^2
        + w_c \frac1C \| P_s^\top P_s - P_t^\top P_t \|_F^2 \Big)

    over the p paired rows of a batch, see :func:`limbeck.functional.prediction_products`.

    Paper: Jin, Wang, Lin, CVPR 2023, and the authors' code. Deviation: one view of each row, where they add a strongly
    augmented one, and the terms of the weak one only for the half of the rows and classes of which the teacher is
    least sure.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "instance": "pair", "batch": "batch", "class": "batch"}
    Config = MLLDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs = b.student.logits[rows], said.log_predictions()
        levels = {
            "instance": partial(distillation_kl, reduction="sum"),
            "batch": partial(prediction_products, over="rows"),
            "class": partial(prediction_products, over="classes"),
        }
        temperatures = self.config.temperatures
        return {"supervised": b.label_loss()} | {
            name: torch.stack([level(ours, theirs, temperature=t) for t in temperatures]).sum()
            for name, level in levels.items()
        }
