"""Universal logit distillation: a teacher of another tokenizer, by its sorted probabilities."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import sorted_l1
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class ULDConfig(Settings):
    temperature: float = setting(
        1.0, "softens the student's side; a bank's probabilities are as they are", above=0
    )
    weight_supervised: Weight = weight(1.0)
    weight_transport: Weight = weight(
        1.5, "of the sorted probabilities, a mean over the tokens of a row (lambda)"
    )


class ULD(Method):
    r"""Match the sorted probabilities of each token, whatever the vocabularies; what the tokens are does not matter.

    .. math:: L = w_s L_{CE} + w_t \frac1p \sum_{i\,\text{paired}} \frac1{|i|} \sum_u \sum_j
        \big| p_s^{(j)}(u) - p_t^{(j)}(u) \big|

    see :func:`limbeck.functional.sorted_l1`. The first token of one side is compared with the first of the other, and
    so on up to the shorter row. What the likeliest k of a bank leave is spread over the others. A shuffled teacher
    teaches most of it: it is how sure the teacher is, and not of what; judge it beside that control.

    Paper: Boizard et al., TMLR 2025, arXiv 2402.12030, equations 5 and 6. Deviation: a mean over tokens, as in the
    authors' code.
    """

    needs = {"tokens"}
    links = {"paired", "partly_paired"}
    problems = {"token_classes"}
    units = {"supervised": "labelled", "transport": "pair"}
    row = 25
    Config = ULDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs, shown = said["tokens"].padded()
        mask = b.student.mask
        transport = sorted_l1(
            b.student.logits[rows],
            theirs.dense(),
            mask_s=None if mask is None else mask[rows],
            mask_t=shown,
            temperature=self.config.temperature,
            temperature_t=1.0,
            over_tokens="mean",
            reduction="sum",
        )
        return {"supervised": b.label_loss(), "transport": transport}
