"""Multi-aspect distillation: what a model answers to yes-or-no questions is learned beside the classes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.methods.base import (
    Declared,
    Layers,
    Method,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)


@dataclass
class MaKDConfig(Settings):
    aspects: str = setting(
        "aspects", "the hidden state of the bank that holds p(yes) of each question, [Q] a row"
    )
    weight_supervised: Weight = weight(1.0)
    weight_aspects: Weight = weight(4.0, "of the answers, a mean over the questions (ALPHA)")


class MaKD(Method):
    r"""Learn the labels, and beside them a teacher's yes or no to questions about each row.

    .. math:: L = w_s L_{CE} + \frac{w_a}{p} \sum_{i\,\text{paired}} \frac1Q \sum_q
        BCE\big(\sigma(a_q(f_s(i))),\, p_t(\text{yes} \,|\, q, i)\big)

    with a a linear head on the student's features, one output a question, that is not exported: it is what further
    outputs of the student's own head would be, which are cut off when it ships. The answers are a hidden state of the
    bank (``Bank.from_arrays(hidden_states={"aspects": p_yes})``), of any model that can be asked.

    Paper: Lee et al., CVPR workshops 2025, arXiv 2501.13341, and the authors' code. Deviation: none.
    """

    needs = {"hidden_states"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "aspects": "pair"}
    row = 15
    Config = MaKDConfig

    @classmethod
    def declared(cls, config: MaKDConfig) -> Declared:
        return super().declared(config).with_(layers=Layers((), {"teacher": (config.aspects,)}))

    def __init__(self, config: MaKDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        shape = shapes.teacher.hidden[config.aspects]
        if len(shape) != 1:
            raise ConfigError(
                f"The answers {config.aspects!r} of the teacher are {list(shape)} a row, and one probability of yes "
                "for each question is wanted, [questions]."
            )
        self.answers = nn.Linear(shapes.student.width, shape[0])

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        yes = said["hidden_states"][self.config.aspects].detach()
        ours = self.answers(b.student.features[rows])
        gap = F.binary_cross_entropy_with_logits(ours, yes.to(ours.dtype), reduction="none").mean(-1).sum()
        return {"supervised": b.label_loss(), "aspects": gap}
