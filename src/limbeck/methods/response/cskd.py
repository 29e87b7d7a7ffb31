"""Cumulative spatial distillation: each patch of the student learns what the teacher says of that place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.functional import distillation_kl
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.layer_pairs import OverLayerPair


@dataclass
class CSKDConfig(Settings):
    layer: str = setting(
        "layer:-1", "STUDENT=TEACHER: patch tokens or maps of the student, the teacher's last maps"
    )
    fusion: Literal["linear", "x2", "cos"] = setting(
        "linear", "how the share of each place's own answer falls from 1 to 0 over the training"
    )
    temperature: float = setting(1.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence of the whole answers")
    weight_spatial: Weight = weight(1.0, "of the divergences of the places, a sum over them")


class CSKD(OverLayerPair):
    r"""Teach the patches of the student from the teacher's answers at their places, later from its whole answer.

    .. math:: L = w_s L_{CE} + \frac{T^2}{p} \sum_{i\,\text{paired}} w_d\, KL(\bar q(i) \,\|\, p_s(i))
        + w_p \sum_x KL\big(\mathrm{softmax}((r\, z_t^x(i) + (1 - r)\, \bar z_t(i)) / T) \,\|\, p_s^x(i)\big)

    with z_t^x the teacher's head on its maps at place x, z-bar their mean over places, p_s^x a patch head of the
    student that is not exported, and r the share that falls with the progress x of the training: 1 - x, (1 - x)^2 or
    cos(pi x / 2). The student's grid is averaged to the teacher's. Both sides must show the same thing at the same
    place.

    Paper: Zhao, Song, Liang, ICCV 2023, arXiv 2307.08500, and the authors' code (soft targets). Deviation: the whole
    answer teaches the student's logits, where theirs teaches a distillation token; the patch head is one of its own.
    """

    needs = {"hidden_states", "head"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "spatial": "pair"}
    row = 155
    Config = CSKDConfig

    def __init__(self, config: CSKDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ours, theirs = shapes.student.hidden[self.ours], shapes.teacher.hidden[self.theirs]
        if len(theirs) != 3 or len(ours) not in (2, 3):
            raise ConfigError(
                f"The layer {self.theirs!r} of the teacher gives {list(theirs)} a row and {self.ours!r} of the student "
                f"{list(ours)}; wanted are the teacher's maps [channels, height, width] and the student's maps or "
                "tokens [L, d]."
            )
        self.patch_head = nn.Linear(ours[0] if len(ours) == 3 else ours[1], shapes.student.n_outputs)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        head, bias = said["head"]
        maps = said["hidden_states"][self.theirs].detach().to(head.dtype)
        dense = F.linear(maps.movedim(1, -1), head, bias)  # [p, h, w, C]
        whole = dense.mean((1, 2))
        share = fading(self.config.fusion, b.progress)
        target = share * dense + (1 - share) * whole[:, None, None]
        patches = on_grid(b.student.hidden_states[self.ours][rows], (dense.shape[1], dense.shape[2]))
        t = self.config.temperature
        return {
            "supervised": b.label_loss(),
            "distillation": distillation_kl(b.student.logits[rows], whole, temperature=t, reduction="sum"),
            "spatial": distillation_kl(
                self.patch_head(patches).flatten(0, 2), target.flatten(0, 2), temperature=t, reduction="sum"
            ),
        }


def fading(shape: str, progress: float) -> float:
    """The share of the places' own answers at this point of the training, from 1 to 0."""
    if shape == "cos":
        return math.cos(math.pi / 2 * progress)
    return (1 - progress) ** (2 if shape == "x2" else 1)


def on_grid(states: Tensor, grid: tuple[int, int]) -> Tensor:
    """``[p, h, w, d]``: maps ``[p, d, H, W]``, or the last square number of tokens ``[p, L, d]``, averaged to a
    grid."""
    if states.dim() == 3:
        side = math.isqrt(states.shape[1])
        patches = states[:, states.shape[1] - side * side :]  # without what stands before them (class tokens)
        states = patches.movedim(1, -1).unflatten(-1, (side, side))
    return F.adaptive_avg_pool2d(states, grid).movedim(1, -1)
