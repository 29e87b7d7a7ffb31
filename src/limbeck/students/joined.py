"""A reference student of several inputs: an encoder for each, joined in front of one head.

Axis legend: n rows, L words, d columns, c channels, h x w positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from limbeck.students.encoders import series_encoder, small_conv_net, table_encoder, video_encoder


class WordBag(nn.Module):
    """The mean of the embeddings of words ``[n, L]`` int64, 0 = padding, as ``[n, width]``."""

    def __init__(self, width: int, n_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, width, padding_idx=0)

    def forward(self, words: Tensor) -> Tensor:
        shown = (words != 0).unsqueeze(-1).to(self.embedding.weight.dtype)
        return (self.embedding(words) * shown).sum(1) / shown.sum(1).clamp(min=1)


class JoinedEncoder(nn.Module):
    """One encoder for each input, their outputs side by side, one hidden layer, linear head.

    Args:
        inputs: name to the shape of one row: ``[d]`` numbers, ``[c, L]`` a series, ``[c, h, w]`` a picture or log-mel,
            ``[c, frames, h, w]`` a video; ``words`` for a text. Taken from the data.
        width: of each encoder's output and of the hidden layer.    n_words: numbers of words, with 0 = padding.
    """

    def __init__(
        self, n_classes: int, inputs: Mapping[str, Sequence[int] | str], width: int = 64, n_words: int = 8192
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: _part(shape, width, n_words) for name, shape in inputs.items()})
        self.body = nn.Sequential(nn.Linear(width * len(inputs), width), nn.ReLU())
        self.head = nn.Linear(width, n_classes)

    def forward(self, **inputs: Tensor) -> Tensor:
        """``[n, C]`` logits of inputs by name."""
        told = [part(inputs[name]) for name, part in self.parts.items()]
        return self.head(self.body(torch.cat(told, dim=-1)))


def _part(shape: Sequence[int] | str, width: int, n_words: int) -> nn.Module:
    if isinstance(shape, str):
        return WordBag(width, n_words)
    if len(shape) == 1:
        return table_encoder(width, shape[0], hidden=(width,))
    if len(shape) == 4:
        return video_encoder(width, shape[0])
    if len(shape) == 2:
        return series_encoder(width, shape[0])
    return small_conv_net(width, shape[0])
