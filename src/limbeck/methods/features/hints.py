"""Hints at named layers: the student's inner states, through trainable maps, reproduce the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.functional import hint_mse
from limbeck.layers.pooling import pool
from limbeck.layers.projectors import linear_projector
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
class HintsConfig(Settings):
    layers: list[str] = setting(
        ["layer:50%=layer:50%"],
        "pairs of layers, STUDENT=TEACHER: a module path, layer:4, layer:-1 or layer:50%",
    )
    weight_supervised: Weight = weight(1.0)
    weight_hint: Weight = weight(1.0, "of the hints, averaged over the pairs of layers")


class Hints(OverLayerPairs):
    r"""Regress the teacher's states at some layers from the student's, each through a linear map that is not exported.

    .. math:: L = w_s L_{CE} + w_h \frac1{|P|} \sum_{(a, b) \in P} \frac1p \sum_{i\,\text{paired}}
        \frac1{D_b} \|r_{ab}(h_s^a(i)) - h_t^b(i)\|^2

    States of all tokens are averaged over those that the attention mask shows where the teacher's are one vector a row.
    Maps of a convolutional layer, ``[C, H, W]``, are averaged over their positions, which two modalities do not share.

    Paper: Romero et al., ICLR 2015, arXiv 1412.6550, equation 3, at several layers and trained with the task.
    """

    units = {"supervised": "labelled", "hint": "pair"}
    Config = HintsConfig

    def __init__(self, config: HintsConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.project = nn.ModuleList(
            linear_projector(width_of(shapes.student.hidden[s]), width_of(shapes.teacher.hidden[t]))
            for s, t in self.pairs
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        hints = []
        for project, (s, t) in zip(self.project, self.pairs):
            theirs = vectors_of(said["hidden_states"][t])
            ours = pooled_like(b.student.hidden_states[s][rows], theirs, mask_of(b, rows))
            gap = hint_mse(project(ours), theirs, reduction="none")
            hints.append(gap.flatten(1).mean(1).sum() if gap.ndim > 1 else gap.sum() / theirs.shape[-1])
        return {"supervised": b.label_loss(), "hint": torch.stack(hints).mean()}


def pooled_like(ours: Tensor, theirs: Tensor, mask: Tensor | None) -> Tensor:
    """``ours [p, L, d]`` as one vector a row where ``theirs`` is ``[p, D]``; else as they are; maps always."""
    return pool(ours, "mean", mask) if theirs.ndim == 2 < ours.ndim == 3 else vectors_of(ours)


def vectors_of(states: Tensor) -> Tensor:
    """Maps ``[p, C, H, W]`` as vectors ``[p, C]``; other states as they are."""
    return states.flatten(2).mean(2) if states.ndim == 4 else states


def width_of(shape: tuple[int, ...]) -> int:
    """Channels of maps ``[C, H, W]``, else the last axis."""
    return shape[0] if len(shape) == 3 else shape[-1]


def mask_of(b: StepBatch, rows: Tensor) -> Any:
    """``[p, L]`` of the tokens of these rows, None where there is none."""
    mask = b.inputs.get("attention_mask")
    return None if mask is None else mask[rows]
