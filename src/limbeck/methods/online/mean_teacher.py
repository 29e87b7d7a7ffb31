"""Mean Teacher: the student agrees with an average of itself about rows without a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.functional import distillation_kl, prediction_mse
from limbeck.methods.base import Declared, Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class MeanTeacherConfig(Settings):
    consistency: Literal["mse", "kl"] = setting("mse", "mean square of the predictions, or their divergence")
    weight_supervised: Weight = weight(1.0)
    weight_consistency: Weight = weight(
        10.0,
        "of the disagreement; in the paper it rises over the first epochs: {from: 0, to: 100, until: 0.1}",
    )


class MeanTeacher(Method):
    r"""Follow the predictions of an average of the student's weights, under another view of the same row.

    .. math:: L = w_s L_{CE} + w_c \frac1n \sum_{i\,\text{unlabelled}} \frac1C \big\| p_s(i) - p_{ema}(i') \big\|^2

    with n all rows of the step, i the strong view of a row and i' its weak view. All rows without a label are drawn, of
    whatever data; no teacher is needed. How slowly the average follows is in the recipe,
    ``peers: {ema: {follows: 0.99}}``, and it is the average that is scored and shipped.

    Paper: Tarvainen and Valpola, NeurIPS 2017, arXiv 1703.01780, equation 1. Deviation: labelled rows have one view,
    and take no part in the second term.
    """

    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "consistency": "row"}
    peers = {"ema"}
    Config = MeanTeacherConfig

    @classmethod
    def declared(cls, config: MeanTeacherConfig) -> Declared:
        return super().declared(config).with_(unlabelled=True)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows = torch.nonzero(~b.labelled).squeeze(1)
        ours, theirs = b.student.logits[rows], b.peer("ema", rows).logits.detach()
        compare = prediction_mse if self.config.consistency == "mse" else distillation_kl
        return {"supervised": b.label_loss(), "consistency": compare(ours, theirs, reduction="sum")}
