"""Where in its maps a network sees a class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, reduced, unit_rows, widened


def activation_map(maps: Tensor, channel_weights: Tensor) -> Tensor:
    r"""Where a class is seen (a class activation map): the positive part of a weighted sum of channels.

    .. math:: \max\big(0, \sum_k a_k A_k\big)

    Args:
        maps: A, ``(n, k, h, w)``.
        channel_weights: a, ``(n, k)``: for GradCAM the mean over positions of the slope of the class's logit; where a
            linear head follows the mean over positions, its row for the class, which differs by the factor 1 / (h w).
    Returns: ``(n, h, w)``, >= 0; float32 or wider.
    Needs: maps.     Gradient: to both; pass a teacher's detached.
    Source: Selvaraju et al. (GradCAM), ICCV 2017, arXiv 1610.02391, equations 1 and 2.    Deviation: none.
    Raises: DataError for shapes.
    Example:
        >>> activation_map(torch.ones(1, 2, 1, 1), torch.tensor([[3.0, -1.0]]))
        tensor([[[2.]]])
    """
    if maps.dim() != 4 or channel_weights.shape != maps.shape[:2]:
        raise DataError(
            f"maps must be (n, k, h, w) and weights (n, k), got {tuple(maps.shape)} and {tuple(channel_weights.shape)}"
        )
    a, weights = widened(maps, channel_weights)
    return F.relu(torch.einsum("nk,nkhw->nhw", weights, a))


def explanation_gap(map_s: Tensor, map_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""One less the cosine of two explanations of the same sample.

    .. math:: 1 - \cos(E_s, E_t)

    Args:
        map_s: the student's, ``(n, h, w)``.      map_t: the teacher's, ``(n, h', w')``; the finer of the two is
            averaged to the smaller height and width.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: in [0, 2], 0 for explanations in proportion, 1 where one is zero throughout; float32 or wider. An empty
        batch gives 0.
    Needs: pairing by row; both sides show the same thing at the same place.     Gradient: to ``map_s`` only.
    Source: Parchami-Araghi et al. (e2KD), ECCV 2024, arXiv 2402.03119.     Deviation: none.
    Raises: DataError for shapes.
    Example:
        >>> float(explanation_gap(torch.ones(1, 2, 2), 2 * torch.ones(1, 4, 4)))
        0.0
    """
    if map_s.dim() != 3 or map_t.dim() != 3 or len(map_s) != len(map_t):
        raise DataError(f"explanations must be (n, h, w), got {tuple(map_s.shape)} and {tuple(map_t.shape)}")
    s, t = widened(map_s, map_t.detach())
    grid = (min(s.shape[1], t.shape[1]), min(s.shape[2], t.shape[2]))
    s, t = (x if x.shape[1:] == grid else F.adaptive_avg_pool2d(x[:, None], grid)[:, 0] for x in (s, t))
    return reduced(1 - (unit_rows(s.flatten(1)) * unit_rows(t.flatten(1))).sum(-1), reduction)
