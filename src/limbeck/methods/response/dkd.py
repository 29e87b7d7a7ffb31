"""Decoupled distillation: what the teacher says of the target class, and of the others among themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.functional import decoupled_kl
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class DKDConfig(Settings):
    alpha: float = setting(1.0, "share of the target class against all others", low=0)
    beta: float = setting(8.0, "share of the other classes among themselves", low=0)
    temperature: float = setting(4.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of both; the authors ramp it up over the first epochs")


class DKD(Method):
    r"""Weigh the two parts of Hinton's divergence apart: target class against the rest, and inside the rest.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} \alpha\, KL(b_t \,\|\, b_s)
        + \beta\, KL(\hat p_t \,\|\, \hat p_s)

    see :func:`limbeck.functional.decoupled_kl`. A pair without a label takes the teacher's likeliest class for the
    target.

    Paper: Zhao et al., CVPR 2022, arXiv 2203.08679, equation 7. Deviation: it knows the label of every row; here
    unlabelled pairs count too.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired", "by_class"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair"}
    Config = DKDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        theirs, classes = said.log_predictions(), b.classes[rows]
        match = decoupled_kl(
            b.student.logits[rows],
            theirs,
            torch.where(classes >= 0, classes, theirs.argmax(-1)),
            weight_target=c.alpha,
            weight_rest=c.beta,
            temperature=c.temperature,
            reduction="sum",
        )
        return {"supervised": b.label_loss(), "distillation": match}
