"""Knowledge as singular vectors: how the channels of one layer correlate with those of the next (KD-SVD).

Axis legend: n - rows, p - positions of a map, c - channels, v - singular vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    can_widen,
    check_positive,
    reduced,
    widened,
    without_autocast,
)

SMALLEST = (
    1e-6  # of the largest eigenvalue: a vector of a smaller one is not exact when it is found by positions
)


class _RightVectors(torch.autograd.Function):
    """Eigenvectors of ``x^T x`` of the largest eigenvalues, in falling order, with the gradient to x.

    Where there are fewer positions than channels they come from ``x x^T``, which is smaller; all other channels then
    span the eigenvalue 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        values, vectors = _from_positions(x, number) or _from_channels(x)
        largest = vectors.abs().argmax(-2, keepdim=True)  # a decomposition leaves the signs open
        vectors = vectors * torch.where(vectors.gather(-2, largest) < 0, -1.0, 1.0)
        ctx.number = number
        ctx.save_for_backward(x, values, vectors)
        top, sizes = vectors[..., :number].clone(), values[..., :number].sqrt()
        ctx.mark_non_differentiable(sizes)
        return top, sizes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
        x, values, vectors = ctx.saved_tensors
        top, first = vectors[..., : ctx.number], values[..., None, : ctx.number]
        least = 100 * torch.finfo(x.dtype).eps * values[..., :1, None].clamp(min=torch.finfo(x.dtype).tiny)
        along = vectors.mT @ grad
        moved = vectors @ (_inverse(first - values[..., :, None], least) * along)
        if vectors.shape[-1] < x.shape[-1]:  # what no vector spans has the eigenvalue 0
            moved = moved + _inverse(first, least) * (grad - vectors @ along)
        return (x @ moved) @ top.mT + (x @ top) @ moved.mT, None


def _inverse(gap: Tensor, least: Tensor) -> Tensor:
    """1 / gap; 0 for equal values, which share a plane in which no vector is singled out: nothing to learn there."""
    known = gap.abs() > least
    return torch.where(known, 1 / torch.where(known, gap, 1.0), 0.0)


def _from_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(x.mT @ x)
    return values.flip(-1).clamp(min=0), vectors.flip(-1)


def _from_positions(x: Tensor, number: int) -> tuple[Tensor, Tensor] | None:
    """The eigenvalues of as many vectors as there are positions, ``(n, p)``, and the vectors ``(n, c, p)``, both zero
    where the value is one of rounding; None where a vector cannot be found so exactly, or where channels are fewer."""
    if x.shape[-2] >= x.shape[-1]:
        return None
    values, own = torch.linalg.eigh(x @ x.mT)
    values, own = values.flip(-1).clamp(min=0), own.flip(-1)
    whole = values > SMALLEST * values[..., :1]
    nothing = values <= 100 * torch.finfo(x.dtype).eps * values[..., :1]
    if not bool(whole[..., :number].all() & (whole | nothing).all()):
        return None
    lengths = torch.where(whole, values, 1.0).sqrt()
    vectors = torch.where(whole[..., None, :], (x.mT @ own) / lengths[..., None, :], 0.0)
    return torch.where(whole, values, 0.0), vectors


def right_singular_vectors(x: Tensor, number: int) -> tuple[Tensor, Tensor]:
    r"""Right singular vectors of the largest singular values, and the values.

    Args:
        x: ``(n, p, c)``.      number: of vectors, at most min(p, c).
    Returns: ``(n, c, v)`` unit vectors, each with its largest entry above 0, and ``(n, v)`` singular values, in falling
        order; float32 or wider.
    Gradient: of the vectors to ``x``, once; none through a pair of equal values. The values carry none.
    Source: ours.  Deviation: none.
    Raises: DataError for shapes and the number.
    Example:
        >>> right_singular_vectors(torch.diag(torch.tensor([1.0, 2.0]))[None], 1)[1]
        tensor([[2.]])
    """
    if x.dim() != 3 or not 1 <= number <= min(x.shape[1:]):
        raise DataError(
            f"x must be (n, p, c) with at least {number} positions and channels, got {tuple(x.shape)}"
        )
    (wide,) = widened(x)
    vectors, sizes = _RightVectors.apply(wide.double() if can_widen(wide) else wide, number)
    return vectors.to(wide.dtype), sizes.to(wide.dtype)


@without_autocast
def singular_vector_gap(
    layers_s: Sequence[Tensor], layers_t: Sequence[Tensor], *, vectors: int = 1, reduction: Reduction = "mean"
) -> Tensor:
    r"""Channels of neighbouring layers lie to each other, in their singular vectors, as those of the teacher do.

    .. math:: \frac{\sqrt{v}}2 \sum_{l} \sum_{i, j, k} \Big( e^{-(a^l_{ik} - a^{l+1}_{jk})^2 / 8}
        - e^{-(b^l_{ik} - b^{l+1}_{jk})^2 / 8} \Big)^2

    where the columns of b are the v first right singular vectors of the teacher's positions-by-channels map, times the
    shares of their singular values, :math:`\sigma_k / \|\sigma\|`; those of a are the student's vectors that are most
    like them, among its first v + 1, with their signs and times the teacher's shares.

    Args:
        layers_s: of the student, from bottom to top, two or more, each ``(n, c, ...)``.
        layers_t: of the teacher, as many, layer by layer of as many channels; positions may differ.
        vectors: v >= 1, default 1; where a layer has fewer positions or channels, that many.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher maps of as many channels.     Gradient: to ``layers_s`` only.
    Source: Lee, Kim and Song (KD-SVD), ECCV 2018, arXiv 1807.06819, as the authors' code computes it.
    Deviation: the gradient is that of the vectors, where the code cuts it to the first five and drops what is not
        finite; signs, which a decomposition leaves open, are those of :func:`right_singular_vectors` for the teacher.
    Raises: DataError for shapes; ConfigError for the number.
    Example:
        >>> x = [torch.eye(2)[None], torch.ones(1, 2, 3)]
        >>> float(singular_vector_gap(x, x))
        0.0
    """
    check_positive("vectors", vectors)
    if len(layers_s) != len(layers_t) or len(layers_s) < 2:
        raise DataError(
            f"layers must be two or more, as many on both sides, got {len(layers_s)} and {len(layers_t)}"
        )
    for s, t in zip(layers_s, layers_t):
        if s.dim() < 2 or t.dim() < 2 or s.shape[:2] != t.shape[:2]:
            raise DataError(
                f"a layer must be (n, c, ...) of as many channels on both sides, got {tuple(s.shape)} and "
                f"{tuple(t.shape)}; project the student's first"
            )
    ours, theirs = [_rows_of(x) for x in layers_s], [_rows_of(x.detach()) for x in layers_t]
    vectors = min(vectors, *(min(x.shape[1:]) for x in (*ours, *theirs)))
    pairs = [_aligned(s, t, vectors) for s, t in zip(ours, theirs)]
    total: Tensor | float = 0.0
    for (low_s, low_t), (high_s, high_t) in pairwise(pairs):
        gap = _near(low_s, high_s) - _near(low_t, high_t)
        total = total + gap.square().sum((1, 2, 3))
    assert isinstance(total, Tensor)
    return reduced(total * (math.sqrt(vectors) / 2), reduction)


def _rows_of(x: Tensor) -> Tensor:
    """``(n, c, ...)`` as ``(n, p, c)``; vectors have one position."""
    return x[:, None] if x.dim() == 2 else x.flatten(2).mT


def _near(low: Tensor, high: Tensor) -> Tensor:
    """``(n, c, c', v)``: 1 where the entries of two vectors agree."""
    return torch.exp(-(low[:, :, None] - high[:, None]).square() / 8)


def _aligned(s: Tensor, t: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Weighted vectors ``(n, c, v)`` of both sides, the student's in the order and with the signs of the teacher's."""
    theirs, sizes = right_singular_vectors(t, number)
    found, _ = right_singular_vectors(s, min(number + 1, *s.shape[1:]))
    ours, theirs, sizes = widened(found, theirs, sizes)
    cosine = ours.detach().mT @ theirs
    best = cosine.abs().argmax(1, keepdim=True)
    sign = torch.where(cosine.gather(1, best) < 0, -1.0, 1.0)
    ours = ours.gather(2, best.expand(-1, ours.shape[1], -1)) * sign
    share = (sizes / torch.linalg.vector_norm(sizes, dim=1, keepdim=True).clamp(min=1e-30))[:, None]
    return ours * share, theirs * share
