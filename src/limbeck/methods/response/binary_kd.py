"""Response distillation of several labels a row: each output a yes or no of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import binary_kl
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class BinaryKDConfig(Settings):
    temperature: float = setting(1.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergences, a sum over outputs")


class BinaryKD(Method):
    r"""Match the teacher's sigmoid of each output.

    .. math:: L = w_s L_{BCE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} \sum_c
        KL\big(\sigma(z_t^c / T) \,\|\, \sigma(z_s^c / T)\big)

    Paper: the logits part of L2D, Yang et al., ICCV 2023, arXiv 2308.06453. Deviation: its embeddings of labels are
    left out.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"multilabel"}
    units = {"supervised": "labelled", "distillation": "pair"}
    Config = BinaryKDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        match = binary_kl(
            b.student.logits[rows], said["logits"], temperature=self.config.temperature, reduction="sum"
        )
        return {"supervised": b.label_loss(), "distillation": match}
