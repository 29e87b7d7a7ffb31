"""Attention-based fusion of ReviewKD: the student's maps, deepest first, each mixed with what came before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MapNorm(nn.BatchNorm2d):
    """Batch normalisation of maps; one value a channel, or none, is seen by the running statistics, since a batch of it
    has no spread."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.shape[0] * x.shape[2] * x.shape[3] > 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class Fusion(nn.Module):
    """One stage: to a middle width, mixed with the deeper stages, and out to the teacher's width.

    Args:
        d_student: channels of the student's map.    d_middle: channels that the stages share.
        d_teacher: channels of the teacher's map.    mixes: whether there is a deeper stage.
    """

    def __init__(self, d_student: int, d_middle: int, d_teacher: int, *, mixes: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(d_student, d_middle, 1, bias=False), MapNorm(d_middle))
        self.leave = nn.Sequential(
            nn.Conv2d(d_middle, d_teacher, 3, padding=1, bias=False), MapNorm(d_teacher)
        )
        self.shares = nn.Conv2d(2 * d_middle, 2, 1) if mixes else None

    def forward(self, x: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """``x [n, d_student, h, w]`` and what the deeper stage handed on; the teacher's height and width.

        Returns: ``[n, d_teacher, *size]``, and what is handed on, ``[n, d_middle, *size]``.
        """
        x = self.enter(x)
        if self.shares is not None:
            assert deeper is not None
            deeper = F.interpolate(deeper, x.shape[2:], mode="nearest")
            share = self.shares(torch.cat([x, deeper], 1)).sigmoid()
            x = x * share[:, :1] + deeper * share[:, 1:]
        if x.shape[2:] != size:
            x = F.interpolate(x, size, mode="nearest")
        return self.leave(x), x


class Review(nn.Module):
    """All stages of ReviewKD; trained with the student, never exported.

    Args:
        d_student: channels of the student's maps, the shallowest first.    d_teacher: of the teacher's.
        d_middle: channels that the stages share.

    Source: Chen et al., CVPR 2021, arXiv 2104.09044, figure 3. Its batch normalisations see the rows of one
    micro-batch.
    """

    def __init__(self, d_student: Sequence[int], d_teacher: Sequence[int], *, d_middle: int = 256) -> None:
        super().__init__()
        last = len(d_student) - 1
        self.stages = nn.ModuleList(
            Fusion(s, d_middle, t, mixes=i < last)
            for i, (s, t) in enumerate(zip(d_student, d_teacher, strict=True))
        )

    def forward(self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """The student's maps ``[n, d, h, w]``, the shallowest first, as the teacher's maps of these heights and widths
        would be."""
        found: list[Tensor] = []
        deeper = None
        for stage, x, size in reversed(list(zip(self.stages, maps, sizes, strict=True))):
            out, deeper = stage(x, deeper, tuple(size))
            found.append(out)
        return found[::-1]
