"""A linear map that places of a grid share with their neighbours, and not with the whole grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """Maps ``[n, c, s, s]`` as tokens ``[n, s * s, d]``: each square of ``near`` by ``near`` places has its own map.

    Dropout lies before the maps.
    """

    def __init__(self, channels: int, width: int, side: int, near: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        squares = math.ceil(side / near)
        place = torch.arange(side) // near
        self.register_buffer("group", (place[:, None] * squares + place[None]).flatten(), persistent=False)
        plain = [nn.Linear(channels, width) for _ in range(squares**2)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in plain]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in plain]))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.dropout(x.flatten(2).mT)
        group: Tensor = self.get_buffer("group")
        return torch.einsum("nlc,ldc->nld", tokens, self.weight[group]) + self.bias[group]
