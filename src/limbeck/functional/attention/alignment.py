"""Attention maps of two sides whose heads were aligned before.

Axis legend: n - rows, m - maps (heads of all layers), q - queries, k - keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, reduced, widened, without_autocast


@without_autocast
def aligned_map_kl(
    maps_s: Tensor, maps_t: Tensor, *, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    r"""Divergence of the student's attention maps from the teacher's, each map as one law over its entries.

    .. math:: \sum_m KL\big(\mathrm{softmax}(A_t^m) \,\big\|\, \mathrm{softmax}(A_s^m)\big)

    Args:
        maps_s: the student's maps, mixed to the teacher's number of them, ``(n, m, q, k)``.
        maps_t: the teacher's, same shape: attention probabilities, which the softmax turns into a law anew.
        mask: ``(n, q)`` where queries and keys are the same tokens: those that count (not 0); default all entries.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row (a sum over its maps).
    Returns: nats, >= 0 up to rounding; float32 or wider. A row without a token that counts, and an empty batch, give 0.
    Needs: pairing by row and by token; teacher maps.     Gradient: to ``maps_s`` only.
    Source: Jin et al. (Align-to-Distill), LREC-COLING 2024, arXiv 2403.01479, as the authors' code computes it.
    Deviation: with a mask padding is left out, which the code lets count.
    Raises: DataError for shapes.
    Example:
        >>> float(aligned_map_kl(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)))
        0.0
    """
    if maps_s.dim() != 4 or maps_s.shape != maps_t.shape:
        raise DataError(
            f"maps must be (n, m, q, k) on both sides, got {tuple(maps_s.shape)} and {tuple(maps_t.shape)}; mix the "
            "student's heads to the teacher's number first"
        )
    n, _, q, k = maps_s.shape
    if mask is not None and (mask.shape != (n, q) or q != k):
        raise DataError(f"mask must be {(n, q)} of as many keys, got {tuple(mask.shape)} beside {k} keys")
    s, t = (x.flatten(2) for x in widened(maps_s, maps_t.detach()))
    if mask is not None:
        shown = mask != 0
        both = (shown[:, :, None] & shown[:, None, :]).flatten(1)[:, None]
        low = torch.finfo(s.dtype).min / 2
        s, t = (x.masked_fill(~both, low) for x in (s, t))
    log_s, log_t = F.log_softmax(s, -1), F.log_softmax(t, -1)
    gap = log_t.exp() * (log_t - log_s)
    return reduced(gap.sum((1, 2)), reduction)
