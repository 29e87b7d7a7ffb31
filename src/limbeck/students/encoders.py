"""Small reference encoders: functions that return a plain ``nn.Sequential`` ending in a linear head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def small_conv_net(
    n_classes: int, in_channels: int = 1, channels: Sequence[int] = (8, 16, 48, 128)
) -> nn.Sequential:
    """A net of 65,122 parameters (10 classes, one channel) for small images and log-mels ``[n, c, h, w]``.

    One [3x3 convolution with stride 2, BatchNorm, ReLU] per entry of ``channels``, mean over the positions,
    linear head. Any size; the teacher and student of the av_digits benchmark.
    """
    layers: list[nn.Module] = []
    for width in channels:
        # BatchNorm subtracts any bias of the convolution, so there is none.
        layers += [
            nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        in_channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, n_classes))
