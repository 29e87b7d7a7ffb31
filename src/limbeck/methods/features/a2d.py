"""A2D: a learned mixture of the student's attention heads, of all layers, reproduces each head of the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.functional import aligned_map_kl
from limbeck.functional.precision import widened
from limbeck.methods.base import (
    Declared,
    Layers,
    Method,
    Settings,
    Shapes,
    Side,
    StepBatch,
    Weight,
    setting,
    weight,
)


@dataclass
class A2DConfig(Settings):
    maps: list[str] = setting(
        [],
        "of the student, one entry an attention layer: QUERY*KEY, the paths of the linear layers that make queries and "
        "keys; or a layer that gives maps [heads, L, L]",
    )
    teacher_maps: list[str] = setting([], "of the teacher, in the same way; the numbers of layers may differ")
    heads: int = setting(1, "of each QUERY*KEY of the student", low=1)
    teacher_heads: int = setting(1, "of each QUERY*KEY of the teacher", low=1)
    weight_supervised: Weight = weight(1.0)
    weight_alignment: Weight = weight(
        1.0,
        "of the aligned maps, a sum over the teacher's heads (beta; it fades over the epochs in the paper)",
    )


class A2D(Method):
    r"""Mix all heads of all student layers to as many maps as the teacher has, and match them one by one.

    .. math:: L = w_s L_{CE} + w_a \frac1p \sum_{i\,\text{paired}} \sum_{m=1}^{M}
        KL\Big(\mathrm{softmax}\,A_t^m(i) \,\Big\|\, \mathrm{softmax}\big(\sum_h W_{mh} A_s^h(i) + b_m\big)\Big)

    with A attention probabilities, each map a law over its entries (see :func:`limbeck.functional.aligned_map_kl`), and
    W trained with the student and not exported: no pair of layers or heads is chosen by hand. Both sides must see the
    same tokens. Maps are made of queries and keys, which linear layers show whatever kernel attends.

    Paper: Jin et al. (Align-to-Distill), LREC-COLING 2024, arXiv 2403.01479, as the authors' code computes it.
    Deviation: encoders alone; dropout on the maps is left out; padding counts nothing.
    """

    needs = {"hidden_states"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "alignment": "pair"}
    row = 96
    Config = A2DConfig

    @classmethod
    def declared(cls, config: A2DConfig) -> Declared:
        ours, theirs = (
            tuple(dict.fromkeys(layer for entry in entries for layer in _parts(entry)))
            for entries in (config.maps, config.teacher_maps)
        )
        return super().declared(config).with_(layers=Layers(ours, {"teacher": theirs}))

    def __init__(self, config: A2DConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        if not config.maps or not config.teacher_maps:
            raise ConfigError("A2D aligns attention maps: name them in maps and teacher_maps, as QUERY*KEY.")
        ours = sum(_number(entry, config.heads, shapes.student, "student") for entry in config.maps)
        theirs = sum(
            _number(entry, config.teacher_heads, shapes.teacher, "teacher") for entry in config.teacher_maps
        )
        self.align = nn.Conv2d(ours, theirs, 1)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        mask: Any = b.inputs.get("attention_mask")
        mask = None if mask is None else mask[rows]
        shown = {name: states[rows] for name, states in b.student.hidden_states.items()}
        ours = _maps(self.config.maps, shown, self.config.heads, mask)
        theirs = _maps(self.config.teacher_maps, said["hidden_states"], self.config.teacher_heads, mask)
        if ours.shape[2:] != theirs.shape[2:]:
            raise ConfigError(
                f"The student's maps are over {list(ours.shape[2:])} tokens and the teacher's over "
                f"{list(theirs.shape[2:])}; let both sides read the same tokens."
            )
        made = self.align(ours.to(self.align.weight.dtype))
        return {
            "supervised": b.label_loss(),
            "alignment": aligned_map_kl(made, theirs, mask=mask, reduction="sum"),
        }


def _parts(entry: str) -> list[str]:
    """``["query", "key"]`` of ``query*key``, else the layer itself."""
    return [part.strip() for part in entry.split("*")]


def _number(entry: str, heads: int, side: Side, whose: str) -> int:
    """Maps that an entry gives; ConfigError for layers that give none."""
    parts = _parts(entry)
    shapes = [side.hidden[part] for part in parts]
    if len(parts) == 1 and len(shapes[0]) == 3:
        return shapes[0][0]
    if len(parts) == 2 and all(len(shape) == 2 and shape[1] % heads == 0 for shape in shapes):
        return heads
    raise ConfigError(
        f"{entry!r} of the {whose} gives {' and '.join(str(list(shape)) for shape in shapes)} a row; wanted is "
        f"QUERY*KEY, each [tokens, width] with a width that {heads} heads divide, or one layer that gives [heads, "
        "tokens, tokens]."
    )


def _maps(entries: list[str], states: Any, heads: int, mask: Tensor | None) -> Tensor:
    """``[p, M, L, L]`` attention probabilities of all entries."""
    found = []
    for entry in entries:
        parts = [states[part] for part in _parts(entry)]
        if len(parts) == 1:
            found.append(parts[0])
            continue
        query, key = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in widened(*parts))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill((mask == 0)[:, None, None, :], torch.finfo(scores.dtype).min)
        found.append(scores.softmax(-1))
    return torch.cat(widened(*found), 1)
