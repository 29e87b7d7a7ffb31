"""Matching of maps at named layers: where they are active, or which positions their channels select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.functional import attention_transfer, channel_similarity, neuron_selectivity
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
class MapsConfig(Settings):
    layers: list[str] = setting(
        ["layer:50%=layer:50%"],
        "pairs of layers, STUDENT=TEACHER: a module path, layer:4, layer:-1 or layer:50%",
    )
    match: Literal["at", "nst", "channels"] = setting(
        "at", "where maps are active, what their channels select, or which channels respond alike"
    )
    weight_supervised: Weight = weight(1.0)
    weight_match: Weight = weight(1.0, "of the match, averaged over the pairs of layers")


class Maps(OverLayerPairs):
    r"""Match maps of convolutions, position by position; their numbers of channels may differ.

    .. math:: L = w_s L_{CE} + w_m \frac1{|P|} \sum_{(a, b) \in P} \frac1p \sum_{i\,\text{paired}}
        D\big(h_s^a(i), h_t^b(i)\big)

    with D attention transfer, neuron selectivity or similarities of channels (see
    :func:`limbeck.functional.attention_transfer`, :func:`~limbeck.functional.neuron_selectivity`,
    :func:`~limbeck.functional.channel_similarity`). For the first two, grids of two sizes are pooled to the smaller
    height and width, and both sides must show the same thing at the same place (a picture and its depth, not a picture
    and a sound). The third is blind to places; it needs as many channels on both sides.

    Paper: Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928; Huang and Wang, arXiv 1707.01219; Liu et al., ICCV
    2021.
    Deviation: the weight of a term in the place of beta / 2.
    """

    units = {"supervised": "labelled", "match": "pair"}
    Config = MapsConfig

    def __init__(self, config: MapsConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        channels = channels_of(self.pairs, shapes)
        if config.match == "channels" and (unlike := [n for n in channels if n[0] != n[1]]):
            raise ConfigError(
                f"Similarities of channels need as many of the student as of the teacher, not {unlike[0][0]} and "
                f"{unlike[0][1]}; name other layers, or take 'at', 'nst' or 'reviewkd'."
            )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        compare: Any = _COMPARED[self.config.match]
        found = []
        for s, t in self.pairs:
            ours, theirs = b.student.hidden_states[s][rows], said["hidden_states"][t]
            if self.config.match != "channels":  # which need no common positions
                ours, theirs = on_one_grid(ours, theirs)
            found.append(compare(ours, theirs, reduction="sum"))
        return {"supervised": b.label_loss(), "match": torch.stack(found).mean()}


_COMPARED = {"at": attention_transfer, "nst": neuron_selectivity, "channels": channel_similarity}


def channels_of(pairs: list[tuple[str, str]], shapes: Shapes) -> list[tuple[int, int]]:
    """Channels of the student's and the teacher's maps of each pair of layers.

    Raises: ConfigError for a layer that gives no maps.
    """
    found = []
    for s, t in pairs:
        both = shapes.student.hidden[s], shapes.teacher.hidden[t]
        for side, layer, shape in zip(("student", "teacher"), (s, t), both):
            if len(shape) != 3:
                raise ConfigError(
                    f"The layer {layer!r} of the {side} gives {list(shape)} a row, and maps are [channels, height, "
                    "width]; name a layer of convolutions, or take 'hints'."
                )
        found.append((both[0][0], both[1][0]))
    return found


def on_one_grid(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps ``[p, C, H, W]`` averaged to the smaller height and the smaller width of the two."""
    height, width = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    one, other = (
        x if x.shape[2:] == (height, width) else F.adaptive_avg_pool2d(x, (height, width)) for x in (a, b)
    )
    return one, other


PRESETS = {
    "at": Preset("Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928, equation 2", fixed={"match": "at"}),
    "ickd": Preset("Liu et al. (ICKD), ICCV 2021, channel correlations", fixed={"match": "channels"}),
    "nst": Preset("Huang and Wang, arXiv 1707.01219, equation 4", fixed={"match": "nst"}),
}
