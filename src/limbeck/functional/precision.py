"""What every loss does to its inputs and outputs first and last: number format, finiteness, reduction.

Losses compute in float32, or float64 when an input is: half precision has no room for exponentials and long
sums. Where float32 has none either (costs many thousand times the regularisation, kernels far wider or narrower than
the clouds), the inside is float64 and the result float32 again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from limbeck.errors import ConfigError, NonFiniteError, UnknownNameError, nearest, some
from limbeck.functional.squares import gram
from limbeck.functional.warnings_once import warn_once

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


def can_widen(x: Tensor) -> bool:
    """Whether ``x`` is not in float64 yet and its device knows it."""
    return x.dtype != torch.float64 and x.device.type != "mps"


def narrowed(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """``x``, if there is one, in the type that the caller works in."""
    return None if x is None else x.to(dtype)


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Let a loss whose result (or the first of its results) is not finite be NaN, and warn of the true cause."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        value = result[0] if isinstance(result, tuple) else result
        if not isinstance(value, Tensor) or math.isfinite(value.item()):
            return result
        given = dict(enumerate(args)) | kwargs
        warn_once(f"{function.__name__}: the result is NaN, {_cause(given, value.dtype)}")
        value = value * float("nan")
        return (value, *result[1:]) if isinstance(result, tuple) else value  # type: ignore[return-value]

    return inner


def _cause(given: Mapping[Any, object], dtype: torch.dtype) -> str:
    """What makes a result of these arguments not finite, and what helps."""
    tensors = {
        name: x.detach()
        for name, x in given.items()
        if isinstance(x, Tensor) and x.is_floating_point() and x.numel()
    }
    bad = [name for name, x in tensors.items() if not bool(torch.isfinite(x).all())]
    if bad == ["cost"]:
        return "the cost matrix holds NaN or Inf"
    if bad:
        return "the features hold NaN or Inf; validate=True names the rows"
    if any(callable(x) for x in given.values()):
        return (
            "what a callable gave holds NaN or Inf (validate=True names the rows of blocks), or grows beyond "
            f"{_name(dtype)} on the way"
        )
    largest = max((float(x.abs().max()) for x in tensors.values()), default=0.0)
    return (
        f"the numbers grow beyond {_name(dtype)} on the way (the largest that came in is {largest:.2g}); scale the "
        "features down" + ("" if dtype == torch.float64 else ", or pass float64")
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def is_ordinary(sizes: Tensor) -> bool:
    """Whether all of these sizes have squares that neither overflow nor vanish; never where finding out would make an
    accelerator wait."""
    if sizes.device.type != "cpu" or not sizes.numel():
        return False
    smallest, largest = sizes.detach().aminmax()
    facts = torch.finfo(sizes.dtype)
    return bool(smallest > 1e4 * facts.tiny**0.5) and bool(largest < 1e-4 * facts.max**0.5)


def euclidean_length(x: Tensor) -> Tensor:
    """Euclidean length over the last axis, whose squares neither overflow nor vanish; slope 0 at 0."""
    if x.device.type == "cpu":
        length = torch.linalg.vector_norm(x, dim=-1)
        if is_ordinary(length):
            return length
    largest = x.detach().abs().amax(-1, keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    return torch.linalg.vector_norm(x / largest, dim=-1) * largest.squeeze(-1)


def unit_rows(x: Tensor) -> Tensor:
    """Vectors of the last axis at length 1, differentiable; a zero vector stays one."""
    length = euclidean_length(x).unsqueeze(-1)
    return x / torch.where(length > 0, length, 1.0)


def unit_grams(x: Tensor) -> Tensor:
    """Inner products ``(..., n, n)`` of the rows of ``x (..., n, d)``, each row of them at length 1; blind to the scale
    of ``x``, which neither overflows nor vanishes on the way."""
    if x.device.type == "cpu":
        products = gram(x)
        length = torch.linalg.vector_norm(products, dim=-1, keepdim=True)
        if is_ordinary(length):
            return products / length
    largest = x.detach().abs().amax((-2, -1), keepdim=True)
    x = x / torch.where(largest > 0, largest, 1.0)
    return unit_rows(gram(x))


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


def has_finite_sum(x: Tensor) -> bool:
    """False where ``x`` holds NaN or Inf (or adds up beyond its type), in one pass."""
    return math.isfinite(x.detach().sum().item())


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
