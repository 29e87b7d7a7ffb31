"""What every loss does to its inputs and outputs first and last: number format, finiteness, reduction.

Losses compute in float32, or float64 when an input is: half precision has no room for exponentials and long
sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from limbeck.errors import ConfigError, NonFiniteError, UnknownNameError, nearest, some

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS = ("mean", "sum", "none")
P = ParamSpec("P")
R = TypeVar("R")


def computing_dtype(*tensors: Tensor) -> torch.dtype:
    """float32, or float64 when any of ``tensors`` is."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def widened(*tensors: Tensor) -> tuple[Tensor, ...]:
    """``tensors`` in their common computing type; gradients flow back in the type that came in."""
    dtype = computing_dtype(*tensors)
    return tuple(t.to(dtype) for t in tensors)


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` outside autocast, which would send its matrix products back to half precision."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return inner


def check_finite(x: Tensor, name: str) -> None:
    """Refuse NaN and Inf with the rows that hold them; costs one pass over ``x``."""
    if not bool(torch.isfinite(x.sum())):
        bad = (~torch.isfinite(x)).reshape(len(x), -1).any(1).nonzero().flatten().tolist()
        if bad:  # a finite input may overflow in the sum
            raise NonFiniteError(f"{name} holds NaN or Inf in row {some(bad)}; drop or repair these rows")


def check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} must be > 0, got {value}")


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must lie in [0, 1], got {value}")


def check_choice(name: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise UnknownNameError(f"unknown {name} {value!r}: {nearest(value, options)}")


def reduced(values: Tensor, reduction: Reduction, count: Tensor | int | None = None) -> Tensor:
    """``values`` as they are, their sum, or their sum over ``count`` (default: all); 0 for an empty batch."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if isinstance(count, Tensor):
        return values.sum() / count.clamp(min=1)
    return values.sum() / max(values.numel() if count is None else count, 1)
