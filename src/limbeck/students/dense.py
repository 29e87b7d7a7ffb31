"""Small reference networks that answer at every position, or with a whole sample.

Axis legend: n rows, c channels, h x w pixels, L tokens, d columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def pixel_encoder(
    n_classes: int, in_channels: int = 3, channels: Sequence[int] = (32, 64, 64)
) -> nn.Sequential:
    """A convolutional net for images ``[n, c, h, w]`` of any size: logits ``[n, n_classes, h, w]`` of every pixel.

    One [3x3 convolution, BatchNorm, ReLU] per entry of ``channels``, each seeing twice as far, and a 1x1 convolution.
    """
    layers: list[nn.Module] = []
    for depth, width in enumerate(channels):
        reach = 2**depth
        layers += [nn.Conv2d(in_channels, width, 3, padding=reach, dilation=reach, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers, nn.Conv2d(in_channels, n_classes, 1))


class TokenEncoder(nn.Module):
    """Token ids ``[n, L]`` to logits ``[n, L, n_classes]``: an embedding, and two convolutions over five tokens each.

    Args:
        vocab_size: ids run from 0 to ``vocab_size - 1``.
    """

    def __init__(
        self, n_classes: int, vocab_size: int = 30522, width: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mix = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        shown = 1 if attention_mask is None else attention_mask.unsqueeze(-1)
        x = self.embedding(input_ids) * shown
        for layer in self.mix:
            x = x + torch.relu(layer(x.transpose(1, 2)).transpose(1, 2)) * shown
        return self.head(self.dropout(x))


class Denoiser(nn.Module):
    """A multi-layer perceptron that answers, with ``x [n, d]`` at times ``t [n]``, a row ``[n, d]``.

    Args:
        n_columns: d.    hidden: widths between.    frequencies: of sines and cosines that tell the time.
    """

    def __init__(self, n_columns: int, hidden: Sequence[int] = (128, 128, 128), frequencies: int = 3) -> None:
        super().__init__()
        self.register_buffer("waves", math.pi * 2.0 ** torch.arange(frequencies) / 2, persistent=False)
        layers, width = list[nn.Module](), n_columns + 2 * frequencies
        for size in hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_columns))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t.unsqueeze(-1) * self.get_buffer("waves")
        return self.layers(torch.cat([x, angles.sin(), angles.cos()], dim=-1))
