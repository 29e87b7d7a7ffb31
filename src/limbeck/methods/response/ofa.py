"""One for all: inner layers of any architecture predict the classes, and follow the teacher there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.functional import enhanced_target
from limbeck.layers import linear_projector
from limbeck.layers.pooling import pool
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
class OFAConfig(Settings):
    layers: list[str] = setting(
        ["layer:50%"],
        "of the student that predict the classes too: a module path, layer:4, layer:-1 or layer:50%",
    )
    gamma: float = setting(1.5, "how loud the teacher's say on the true class is made; 1 = as it is", above=0)
    temperature: float = setting(1.0, "softens both sides (T)", above=0)
    variant: Literal["paper", "official"] = setting(
        "paper", "official: the power also stands on the other classes"
    )
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the match of the student's own prediction")
    weight_branches: Weight = weight(1.0, "of the matches at the layers, averaged over them")


class OFA(Method):
    r"""Match the teacher's prediction at the end and at inner layers, each seen through a head of its own.

    .. math:: L = w_s L_{CE} + w_d \frac1p \sum_{i\,\text{paired}} D\big(z_s(i), z_t(i)\big)
        + w_b \frac1{|A|} \sum_{a \in A} \frac1p \sum_i D\big(r_a(h_s^a(i)), z_t(i)\big)

    with D the cross entropy under an enhanced target (see :func:`limbeck.functional.enhanced_target`) and r a linear
    map of the states, averaged over tokens or places, to logits, which is not exported. Logits are a space that any two
    architectures, and any two modalities, share. A pair without a label takes the teacher's likeliest class.

    Paper: Hao et al. (OFA-KD), NeurIPS 2023, arXiv 2310.19444, equations 4 and 5. Deviation: linear heads in the place
    of small networks for each architecture; unlabelled pairs count too.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired", "by_class"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "branches": "pair"}
    row = 85
    Config = OFAConfig

    @classmethod
    def declared(cls, config: OFAConfig) -> Declared:
        return super().declared(config).with_(layers=Layers(student=tuple(config.layers)))

    def __init__(self, config: OFAConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        hidden = [shapes.student.hidden[layer] for layer in config.layers]
        self.heads = nn.ModuleList(
            linear_projector(shape[0] if len(shape) == 3 else shape[-1], shapes.student.n_outputs)
            for shape in hidden
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs, classes = said.log_predictions(), b.classes[rows]
        classes = torch.where(classes >= 0, classes, theirs.argmax(-1))
        mask: Any = b.inputs.get("attention_mask")
        mask = None if mask is None else mask[rows]
        branches = [b.student.logits.new_zeros(())]
        for head, layer in zip(self.heads, self.config.layers):
            states = b.student.hidden_states[layer][rows]
            pooled = pool(states, "mean", mask if states.ndim == 3 else None)
            branches.append(self._match(head(pooled), theirs, classes) / len(self.heads))
        return {
            "supervised": b.label_loss(),
            "distillation": self._match(b.student.logits[rows], theirs, classes),
            "branches": torch.stack(branches).sum(),
        }

    def _match(self, ours: Tensor, theirs: Tensor, classes: Tensor) -> Tensor:
        c = self.config
        return enhanced_target(
            ours,
            theirs,
            classes,
            gamma=c.gamma,
            temperature=c.temperature,
            variant=c.variant,
            reduction="sum",
        )
