"""Which states of a transformers model are pooled, and how, by name.

Axis legend: m rows, T positions of the inputs, T' of the states.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.signals.ragged import Ragged

Pooling = Literal["auto", "mean", "cls", "last", "max", "pooler", "none"]
POOLINGS = ("auto", "mean", "cls", "last", "max", "pooler", "none")


def all_states(states: Tensor, mask: Tensor | None) -> Ragged:
    """The states ``[m, T, D]`` or ``[m, C, H, W]`` that count, a row ``[l_i, D]`` each.

    Raises: ConfigError for states of another shape.
    """
    if states.dim() == 4:  # the maps of a convolutional encoder
        states, mask = states.flatten(2).transpose(1, 2), None
    if states.dim() != 3:
        raise ConfigError(
            f"States of shape {list(states.shape)} have no positions; leave out pooling='none', or name another layer."
        )
    whole = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    return Ragged.shown(states, whole if mask is None else mask.to(states.device))


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
