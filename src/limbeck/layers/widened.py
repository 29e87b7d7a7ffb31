"""A block that widens maps and narrows them again, beside the maps themselves (NORM's feature transform)."""

from __future__ import annotations

from torch import Tensor, nn


class Widened(nn.Module):
    """Maps ``[n, c, h, w]`` plus what comes back from ``wide`` channels, without a non-linearity between.

    ``wide`` and ``narrow`` are [1x1 convolution, BatchNorm]; a teacher is matched at the output of ``wide``. After
    training both could be folded into one convolution.
    """

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide))
        self.narrow = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.wide(x))
