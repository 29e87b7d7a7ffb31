"""From the states of all tokens, patches or frames to one vector a row.

Axis legend: m rows, T positions, D width, C channels, H and W of a feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ConfigError


def pool(states: Tensor, pooling: str, mask: Tensor | None, *, skip: int = 0) -> Tensor:
    """``[m, D]`` of ``states`` ``[m, T, D]``, ``[m, C, H, W]`` or ``[m, D]``, taken in float32, in their dtype.

    Args:
        pooling: ``mean``, ``max``, ``cls`` (the first position) or ``last``; ``mean_sqrt``, the sum over the square
            root of the number of positions; ``weighted_mean``, the k-th position k times.
        mask: ``[m, T]``, not 0 at the positions that count, wherever the padding lies; ``None`` = all. A row that
            shows nothing gives zero (mean) or one of its positions.
        skip: the first positions that count of every row, which are left out (a prompt); weights still count them.

    Raises: ConfigError for states of another shape.
    """
    if states.dim() == 4:  # the maps of a convolutional encoder
        states = states.flatten(2).transpose(1, 2)
    if states.dim() == 2:
        return states
    if states.dim() != 3:
        raise ConfigError(f"States of shape {list(states.shape)} cannot be pooled; name another layer.")
    shown = None if mask is None else mask.to(states.device)
    if skip:
        shown = torch.ones_like(states[..., 0]) if shown is None else shown
        mask = shown * (shown.cumsum(dim=1) > skip)
    else:
        mask = shown
    if pooling == "max":
        return _max(states, mask)
    if pooling in ("cls", "last"):
        return _at_end(states, mask, first=pooling == "cls")
    weights = None if mask is None else mask.float()
    if pooling == "weighted_mean":
        weights = _places(states, shown) * (1.0 if weights is None else weights)
    return _mean(states.float(), weights, by_root=pooling == "mean_sqrt").to(states.dtype)


def _mean(states: Tensor, weights: Tensor | None, *, by_root: bool) -> Tensor:
    if weights is None:
        return states.sum(dim=1) / states.shape[1] ** 0.5 if by_root else states.mean(dim=1)
    total = weights.sum(dim=1, keepdim=True).clamp(min=1)
    return (states * weights.unsqueeze(-1)).sum(dim=1) / (total.sqrt() if by_root else total)


def _places(states: Tensor, shown: Tensor | None) -> Tensor:
    """``[m, T]`` or ``[1, T]``: 1 at the first position that counts, 2 at the next."""
    places = torch.arange(1.0, states.shape[1] + 1, device=states.device).unsqueeze(0)
    return places if shown is None else places - (shown > 0).long().argmax(dim=1, keepdim=True)


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
