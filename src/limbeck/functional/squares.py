"""Products of a tensor with itself, whose gradient takes half the passes of those that autograd makes of them.

Both can be differentiated again, and by the transforms of ``torch.func``.
Axis legend: n - rows, c - channels, p - positions, d - width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK = 2**18  # numbers that are squared at once: they stay in a processor's cache


class _OfItself(torch.autograd.Function):
    """A function of one tensor whose derivatives need that tensor alone."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)


class _Gram(_OfItself):
    """Of ``x x^T`` with the gradient ``(g + g^T) x``: one product in the place of two."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x @ x.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (grad + grad.mT) @ x

    @staticmethod
    def jvp(ctx: Any, moved: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        half = moved @ x.mT
        return half + half.mT


class _SquaredLength(_OfItself):
    """Of the sum of squares over the axis 1, with the gradient ``2 g x``: one pass in the place of three."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        rows = max(1, BLOCK // max(1, x[:1].numel()))
        if x.device.type != "cpu" or len(x) <= rows:
            return x.square().sum(1)
        return torch.cat([block.square().sum(1) for block in x.split(rows)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * (2 * grad).unsqueeze(1)

    @staticmethod
    def jvp(ctx: Any, moved: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * (x * moved).sum(1)


def gram(x: Tensor) -> Tensor:
    """Inner products ``(..., n, n)`` of the rows of ``x (..., n, d)``."""
    return _Gram.apply(x)


def squared_lengths(x: Tensor) -> Tensor:
    """``(n, p)``: at each position of maps ``(n, c, p)`` the sum of the squares of its channels."""
    return _SquaredLength.apply(x)
