"""A value whose gradient was computed beside it: the bridge from hand-made gradients to autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limbeck.functional.costs import once


class _HandGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, gradient: Tensor, name: str) -> Tensor:
        ctx.save_for_backward(x, gradient)
        ctx.name = name
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, gradient = ctx.saved_tensors
        return (grad * once(gradient, x, ctx.name)).to(x.dtype), None, None, None


def with_gradient(value: Tensor, x: Tensor, gradient: Tensor | None, name: str) -> Tensor:
    """The scalar ``value`` as a function of ``x`` with this ``gradient``; as it is when there is none.

    A second derivative is refused in a sentence that says ``name``.
    """
    return value if gradient is None else _HandGradient.apply(x, value, gradient, name)


def with_both_gradients(
    value: Tensor, x_s: Tensor, to_s: Tensor | None, x_t: Tensor, to_t: Tensor | None, name: str
) -> Tensor:
    """``value`` as a function of both clouds, each with its gradient; as :func:`with_gradient`."""
    total = with_gradient(value, x_s, to_s, name)
    return total if to_t is None else total + with_gradient(torch.zeros_like(value), x_t, to_t, name)


def wants_gradient(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()


def nothing_to_compare(x: Tensor, dtype: torch.dtype) -> Tensor:
    """0 for an empty batch, tied to ``x`` so that backward runs."""
    return x.to(dtype).sum() * 0.0
