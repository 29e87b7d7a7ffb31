"""From the states of all tokens, patches or frames to one vector a row.

Axis legend: m rows, T positions, D width, C channels, H and W of a feature map.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError

Pooling = Literal["auto", "mean", "cls", "last", "max", "pooler"]
POOLINGS = ("auto", "mean", "cls", "last", "max", "pooler")


def pool(states: Tensor, pooling: str, mask: Tensor | None) -> Tensor:
    """``[m, D]`` float32 of ``states`` ``[m, T, D]``, ``[m, C, H, W]`` or ``[m, D]``.

    Args:
        pooling: ``mean``, ``max``, ``cls`` (the first position) or ``last``.
        mask: ``[m, T]``, not 0 at the positions that count; ``None`` = all.
    """
    states = states.float()
    mask = None if mask is None else mask.to(states.device)
    if states.dim() == 4:  # the maps of a convolutional encoder
        states = states.flatten(2).transpose(1, 2)
    if states.dim() == 2:
        return states
    if states.dim() != 3:
        raise ConfigError(f"States of shape {list(states.shape)} cannot be pooled; name another layer.")
    if pooling == "max":
        return masked_max(states, mask)
    if pooling in ("cls", "last"):
        return _at_end(states, mask, first=pooling == "cls")
    return masked_mean(states, mask)


def masked_mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the positions that ``mask`` ``[m, T]`` keeps; ``states`` ``[m, T, D]`` to ``[m, D]``."""
    if mask is None:
        return states.mean(dim=1)
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)


def masked_max(states: Tensor, mask: Tensor | None) -> Tensor:
    """Largest value over the positions that ``mask`` keeps, ``[m, D]``."""
    if mask is not None:
        states = states.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(states.dtype).min)
    return states.amax(dim=1)


def _at_end(states: Tensor, mask: Tensor | None, first: bool) -> Tensor:
    """The first or last position that ``mask`` keeps, wherever the padding lies."""
    if mask is None:
        return states[:, 0 if first else -1]
    kept = (mask != 0).long()
    at = kept.argmax(dim=1) if first else kept.shape[1] - 1 - kept.flip(1).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), at]


def mask_at_rate(model: Any, mask: Tensor | None, states: Tensor, pooling: str) -> Tensor | None:
    """The attention mask ``[m, T']`` of the inputs at the rate of the ``states`` ``[m, T, ...]``, ``[m, T]``.

    Audio encoders shorten their input: Wav2Vec2 tells its mask, Whisper how many states n frames give.
    Raises: ConfigError where rows are padded and nothing tells which states are padding.
    """
    length = states.shape[1]
    if mask is None or states.dim() != 3 or mask.shape[1] == length:
        return mask if states.dim() == 3 else None
    if pooling == "cls":  # only texts are padded in front, and those come at the rate of their mask
        return None
    if shorten := getattr(model, "_get_feature_vector_attention_mask", None):
        return shorten(length, mask)
    if count := getattr(model, "_get_feat_extract_output_lengths", None):
        counts = count(mask.long().sum(dim=1))
        return torch.arange(length, device=mask.device) < counts.unsqueeze(1)
    if bool((mask != 0).all()):
        return None
    raise ConfigError(
        f"{type(model).__name__} does not say which of its states are padding, so pooling={pooling!r} would "
        "count them; pass batch_size=1, or pooling='pooler' if it has one."
    )
