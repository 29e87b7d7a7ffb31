"""Relations between the tokens of a row, as queries, keys or values of one layer show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import token_relations
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.layer_pairs import OverLayerPairs
from limbeck.methods.presets import Preset


@dataclass
class TokenRelationsConfig(Settings):
    layers: list[str] = setting(
        ["layer:-1=layer:-1"],
        "pairs of layers whose outputs are compared, STUDENT=TEACHER; of MiniLMv2 the paths of the linear layers that "
        "make queries, keys and values",
    )
    heads: int = setting(
        1, "relation heads, a divisor of all widths; they need not be those of the layers", low=1
    )
    weight_supervised: Weight = weight(1.0)
    weight_relation: Weight = weight(1.0, "of the divergence, averaged over the pairs of layers")


class TokenRelations(OverLayerPairs):
    r"""Tokens of a row attend to each other as those of the teacher do, whatever the numbers of heads and widths.

    .. math:: L = w_s L_{CE} + w_r \frac1{|P|} \sum_{(a, b) \in P} \frac1p \sum_{i\,\text{paired}}
        \frac1{h\,|i|} \sum_{u, t} KL\big(R_t^{u,t} \,\|\, R_s^{u,t}\big)

    over h relation heads u and the |i| tokens t of a row; see :func:`limbeck.functional.token_relations`. Both sides
    must see the same tokens. Queries, keys and values are outputs of linear layers, so that a fused attention, which
    makes no maps, does not hide them; where one layer makes all three, its output is compared as a whole.

    Paper: Wang et al. (MiniLMv2), ACL Findings 2021, arXiv 2012.15828, equations 3 to 6. Deviation: none.
    """

    units = {"supervised": "labelled", "relation": "pair"}
    row = 54
    Config = TokenRelationsConfig

    def __init__(self, config: TokenRelationsConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        for s, t in self.pairs:
            both = shapes.student.hidden[s], shapes.teacher.hidden[t]
            for side, layer, shape in zip(("student", "teacher"), (s, t), both):
                if len(shape) != 2:
                    raise ConfigError(
                        f"The layer {layer!r} of the {side} gives {list(shape)} a row, and relations are "
                        "between [tokens, width]; name a layer whose states are not pooled."
                    )
                if shape[1] % config.heads:
                    raise ConfigError(
                        f"The width {shape[1]} of {layer!r} cannot be cut into {config.heads} relation heads; take a "
                        "divisor of all widths."
                    )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        mask: Any = b.inputs.get("attention_mask")
        mask = None if mask is None else mask[rows]
        found = []
        for s, t in self.pairs:
            ours, theirs = b.student.hidden_states[s][rows], said["hidden_states"][t]
            _check_tokens(ours, theirs, s, t)
            gap = token_relations(ours, theirs, heads=self.config.heads, mask=mask, reduction="none").mean(1)
            n_shown = gap.shape[1] if mask is None else (mask != 0).sum(1).clamp(min=1)
            found.append((gap.sum(1) / n_shown).sum())
        return {"supervised": b.label_loss(), "relation": torch.stack(found).mean()}


def _check_tokens(ours: Tensor, theirs: Tensor, s: str, t: str) -> None:
    if ours.shape[1] != theirs.shape[1]:
        raise ConfigError(
            f"The layers {s!r} and {t!r} show {ours.shape[1]} and {theirs.shape[1]} tokens of a row, and relations of "
            "tokens need the same ones; let both sides read the same tokenizer, or take 'hints'."
        )


PRESETS = {
    "minilm_v2": Preset(
        "Wang et al. (MiniLMv2), ACL Findings 2021, arXiv 2012.15828, equations 3 to 6",
        defaults={"heads": 48, "weight_supervised": 0.0},
    ),
}
