"""Response distillation of logits that are seen class by class over the batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import class_standardised_logits, divergence
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class LumiNetConfig(Settings):
    temperature: float = setting(4.0, "softens both sides after standardising (tau)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_perception: Weight = weight(
        16.0, "of the divergence (the authors' alpha squared, which they ramp up over the first epochs)"
    )


class LumiNet(Method):
    r"""Match predictions after each class's logits were set to mean 0 and spread 1 over the rows of the batch.

    .. math:: L = w_s L_{CE} + w_p \frac1p \sum_{i\,\text{paired}} KL\big(\mathrm{softmax}(h_t(i) / \tau) \,\|\,
        \mathrm{softmax}(h_s(i) / \tau)\big)

    with h the logits standardised by class, see :func:`limbeck.functional.class_standardised_logits`. A batch of one
    pair says nothing.

    Paper: Hossain et al., arXiv 2310.03669, and the authors' code. Deviation: alpha squared is the weight of the term.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "perception": "batch"}
    row = 24
    Config = LumiNetConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs = (class_standardised_logits(z) for z in (b.student.logits[rows], said["logits"]))
        t = self.config.temperature
        return {
            "supervised": b.label_loss(),
            "perception": divergence(ours, theirs, temperature=t) / t**2,  # the authors have no factor T^2
        }
