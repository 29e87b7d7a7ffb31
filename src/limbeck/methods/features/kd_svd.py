"""KD-SVD: channels of neighbouring layers lie to each other, in their singular vectors, as those of the teacher do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.functional import singular_vector_gap
from limbeck.layers import linear_projector
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.layer_pairs import OverLayerPairs


@dataclass
class KDSVDConfig(Settings):
    layers: list[str] = setting(
        ["layer:50%=layer:50%", "layer:-1=layer:-1"],
        "pairs of layers from bottom to top, two or more, STUDENT=TEACHER: a module path, layer:4 or layer:-1",
    )
    vectors: int = setting(1, "singular vectors of a layer (distilled feature vectors)", low=1)
    weight_supervised: Weight = weight(1.0)
    weight_correlation: Weight = weight(1.0, "of the correlations of neighbouring layers, summed over them")


class KDSVD(OverLayerPairs):
    r"""Compress the maps of each layer to singular vectors, and match how those of neighbouring layers lie.

    .. math:: L = w_s L_{CE} + w_c \frac{\sqrt v}{2p} \sum_{i\,\text{paired}} \sum_l
        \big\| G\big(a^l(i), a^{l+1}(i)\big) - G\big(b^l(i), b^{l+1}(i)\big) \big\|^2, \quad
        G(a, a')_{jkm} = e^{-(a_{jm} - a'_{km})^2 / 8}

    with a the weighted singular vectors of the student's layer l and b those of the teacher's; see
    :func:`limbeck.functional.singular_vector_gap`. The two sides may see other positions, but need as many channels:
    where they differ, a linear map of the student's channels, which is not exported, makes them agree.

    Paper: Lee, Kim and Song, ECCV 2018, arXiv 1807.06819, as the authors' code computes it. Deviation: the map of
    channels; a weight in the place of their clipping of the gradient to the size of the label's.
    """

    units = {"supervised": "labelled", "correlation": "pair"}
    Config = KDSVDConfig

    def __init__(self, config: KDSVDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        if len(self.pairs) < 2:
            raise ConfigError("KD-SVD compares neighbouring layers: name two or more in layers.")
        self.project = nn.ModuleDict()
        for place, (s, t) in enumerate(self.pairs):
            ours, theirs = (
                _channels(shape) for shape in (shapes.student.hidden[s], shapes.teacher.hidden[t])
            )
            if ours != theirs:
                self.project[str(place)] = linear_projector(ours, theirs, bias=False)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs = [], []
        for place, (s, t) in enumerate(self.pairs):
            state = _channels_second(b.student.hidden_states[s][rows])
            if str(place) in self.project:
                state = torch.movedim(self.project[str(place)](torch.movedim(state, 1, -1)), -1, 1)
            ours.append(state)
            theirs.append(_channels_second(said["hidden_states"][t]))
        gap = singular_vector_gap(ours, theirs, vectors=self.config.vectors, reduction="sum")
        return {"supervised": b.label_loss(), "correlation": gap}


def _channels(shape: tuple[int, ...]) -> int:
    """Of maps ``[C, H, W]`` the first axis, of tokens ``[L, C]`` and vectors ``[C]`` the last."""
    return shape[0] if len(shape) == 3 else shape[-1]


def _channels_second(states: Tensor) -> Tensor:
    """Tokens ``[p, L, C]`` as ``[p, C, L]``; maps and vectors as they are."""
    return states.mT if states.ndim == 3 else states
