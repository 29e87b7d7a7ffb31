"""Response distillation by transport: the batch's predictions are moved onto the teacher's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import distillation_kl, sinkd
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class SinKDConfig(Settings):
    temperature: float = setting(2.0, "of the predictions that are moved, and of the divergence", above=0)
    reg: float = setting(0.1, "entropic regularisation (epsilon), of costs in [0, 2]", above=0)
    sweeps: int = setting(20, "row and column normalisations", low=1)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence, row by row")
    weight_transport: Weight = weight(0.8, "of the cost of the transport, a mean over the pairs of a batch")


class SinKD(Method):
    r"""Beside the divergence of each row, the Sinkhorn distance between the two sides' predictions of a whole batch.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} KL(p_t^T(i) \,\|\, p_s^T(i))
        + w_t \frac1p \langle P, W \rangle, \quad W_{ij} = \| p_s^T(i) - p_t^T(j) \|_1

    with P the entropic plan after the authors' number of sweeps, see :func:`limbeck.functional.sinkd`. It has a slope
    where the two sides' predictions hardly overlap.

    Paper: Cui et al., LREC-COLING 2024, arXiv 2402.17110, and the authors' code. Deviation: a mean over the pairs,
    where they take the sum and a factor that shrinks with their batch.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "distillation": "pair", "transport": "batch"}
    row = 63
    Config = SinKDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        ours, theirs = b.student.logits[rows], said.log_predictions()
        cost = sinkd(
            ours,
            theirs.detach(),
            temperature=c.temperature,
            reg=c.reg,
            sweeps=c.sweeps,
            scale=1 / max(1, len(rows)),
        )
        match = distillation_kl(ours, theirs, temperature=c.temperature, reduction="sum")
        return {"supervised": b.label_loss(), "distillation": match, "transport": cost}
