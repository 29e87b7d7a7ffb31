"""Weighted soft labels: the teacher is heard less about rows that the student already knows better."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.functional import weighted_soft_labels
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class WSLDConfig(Settings):
    temperature: float = setting(2.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(2.5, "of the soft labels (alpha)")


class WSLD(Method):
    r"""Weigh the soft label of each row by how far the student's label loss is above the teacher's.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}}
        \big(1 - e^{-\ell_s(i) / \ell_t(i)}\big)\, H\big(p_t^T(i), p_s^T(i)\big)

    see :func:`limbeck.functional.weighted_soft_labels`. A pair without a label takes the teacher's likeliest class.

    Paper: Zhou et al., ICLR 2021, arXiv 2102.00650, equation 6. Deviation: it knows the label of every row; here
    unlabelled pairs count too.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired", "by_class"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair"}
    Config = WSLDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs, classes = said.log_predictions(), b.classes[rows]
        match = weighted_soft_labels(
            b.student.logits[rows],
            theirs,
            torch.where(classes >= 0, classes, theirs.argmax(-1)),
            temperature=self.config.temperature,
            reduction="sum",
        )
        return {"supervised": b.label_loss(), "distillation": match}
