"""From the states of all tokens, patches or frames to one vector a row.

Axis legend: m rows, T positions, D width, C channels, H and W of a feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ConfigError


def pool(states: Tensor, pooling: str, mask: Tensor | None) -> Tensor:
    """``[m, D]`` of ``states`` ``[m, T, D]``, ``[m, C, H, W]`` or ``[m, D]``, taken in float32, in their dtype.

    Args:
        pooling: ``mean``, ``max``, ``cls`` (the first position) or ``last``.
        mask: ``[m, T]``, not 0 at the positions that count, wherever the padding lies; ``None`` = all. A row that
            shows nothing gives zero (mean) or one of its positions.

    Raises: ConfigError for states of another shape.
    """
    if states.dim() == 4:  # the maps of a convolutional encoder
        states = states.flatten(2).transpose(1, 2)
    if states.dim() == 2:
        return states
    if states.dim() != 3:
        raise ConfigError(f"States of shape {list(states.shape)} cannot be pooled; name another layer.")
    mask = None if mask is None else mask.to(states.device)
    if pooling == "max":
        return _max(states, mask)
    if pooling in ("cls", "last"):
        return _at_end(states, mask, first=pooling == "cls")
    return _mean(states.float(), mask).to(states.dtype)


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return states.mean(dim=1)
    shown = mask.unsqueeze(-1).to(states.dtype)
    return (states * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)


def _max(states: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        states = states.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(states.dtype).min)
    return states.amax(dim=1)


def _at_end(states: Tensor, mask: Tensor | None, *, first: bool) -> Tensor:
    if mask is None:
        return states[:, 0 if first else -1]
    shown = (mask > 0).long()
    rank = shown if first else shown * torch.arange(mask.shape[1], device=mask.device)
    position = rank.argmax(1)  # the first of equal ones
    return states.gather(1, position[:, None, None].expand(-1, 1, states.shape[-1])).squeeze(1)
