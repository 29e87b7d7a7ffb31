"""Angles between triples of samples, in blocks of corners: no tensor of all triples is made.

Axis legend: n - samples, a - corners of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_gradient
from limbeck.functional.precision import can_widen, explained, without_autocast
from limbeck.functional.relations.samples import flat_pair

BLOCK_ELEMENTS = 2**18  # of the largest tensor of a block, angles of its corners


@explained
@without_autocast
def rkd_angle(x_s: Tensor, x_t: Tensor) -> Tensor:
    r"""Angles that triples of samples make agree with the teacher's, by Huber's loss (RKD-A).

    .. math:: \frac1{n^3} \sum_{ijk} \ell_1\big(\cos_s(j, i, k) - \cos_t(j, i, k)\big)

    with cos(j, i, k) the cosine of the angle at i, 0 where j or k is at the place of i.

    Args:
        x_s: student features, ``(n, ...)``.      x_t: teacher features, ``(n, ...)``; the widths may differ.
    Returns: scalar >= 0, 0 for clouds that agree up to a motion and a scale; float32 or wider. 0 below two rows.
    Needs: pairing by row; teacher vectors; time O(n^3), memory O(n^2) (and a block).
    Gradient: to ``x_s`` only, computed in the forward pass; a second derivative is refused.
    Source: Park et al., CVPR 2019, arXiv 1904.05068, equations 7 and 8.
    Deviation: a mean over all n^3 triples, as in the authors' code, where the paper sums.
    Raises: DataError if the numbers of rows differ.
    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> round(float(rkd_angle(x, 2 * x + 1)), 6)
        0.0
    """
    s, t = flat_pair(x_s, x_t)
    n = len(s)
    if n < 2:
        return nothing_to_compare(x_s, s.dtype)
    # distances out of inner products lose half the digits: those are taken in float64 where there is one
    wide = torch.float64 if can_widen(s) else s.dtype
    gram_s, gram_t = (_gram(x.to(wide)) for x in (s, t))
    value, slope = gram_s.new_zeros(()), None
    leaf = gram_s.detach().requires_grad_(wants_gradient(gram_s))
    if leaf.requires_grad:
        slope = torch.zeros_like(leaf)
    step = max(1, BLOCK_ELEMENTS // (n * n))
    for start in range(0, n, step):
        corners = slice(start, min(start + step, n))
        part = F.smooth_l1_loss(_cosines(leaf, corners), _cosines(gram_t, corners), reduction="sum") / n**3
        value = value + part.detach()
        if slope is not None:
            slope += torch.autograd.grad(part, leaf)[0]
    return with_gradient(value, gram_s, slope, "rkd_angle").to(s.dtype)


def _gram(x: Tensor) -> Tensor:
    """Inner products around the mean, at a scale of 1: angles see neither."""
    x = x - x.mean(0)
    largest = x.detach().abs().max()
    x = x / torch.where(largest > 0, largest, 1.0)
    return x @ x.T


def _cosines(gram: Tensor, corners: slice) -> Tensor:
    """``(a, n, n)``: cosine of the angle that j and k make at each corner i."""
    own = gram.diagonal()
    at = gram[corners]  # (a, n)
    squared = own[corners, None] + own[None, :] - 2 * at
    noise = 16 * torch.finfo(gram.dtype).eps * (own[corners, None] + own[None, :]).detach()
    apart = squared > noise
    inverse = torch.where(apart, torch.where(apart, squared, 1.0).rsqrt(), 0.0)
    product = gram[None] - at[:, :, None] - at[:, None, :] + own[corners, None, None]
    return product * inverse[:, :, None] * inverse[:, None, :]
