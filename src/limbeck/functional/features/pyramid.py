"""Maps compared at several resolutions: what is where, and what is there at all (ReviewKD)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, reduced, widened

LEVELS = (4, 2, 1)  # height and width of the coarser maps


def pyramid_mse(x_s: Tensor, x_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Squared difference of maps, and of the same maps averaged to coarser grids (hierarchical context loss).

    .. math:: \frac{\sum_l w_l\, \overline{(P_l(x_s) - P_l(x_t))^2}}{\sum_l w_l}, \qquad
        w = 1, \tfrac12, \tfrac14, \dots

    with P the average over a grid of the full size, then of 4 x 4, 2 x 2 and 1 x 1 cells; grids that are not smaller
    than the height of the map are left out, and the next takes their weight.

    Args:
        x_s: student maps, ``(n, c, height, width)``.      x_t: teacher maps, same shape.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: squared feature units, >= 0, 0 at equality; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher maps over the same positions.     Gradient: to ``x_s`` only.
    Source: Chen et al., CVPR 2021, arXiv 2104.09044, section 3.4.  Deviation: none; levels and weights are those of the
        authors' code.
    Raises: DataError for shapes.
    Example:
        >>> float(pyramid_mse(torch.zeros(1, 2, 8, 8), torch.ones(1, 2, 8, 8)))
        1.0
    """
    if x_s.shape != x_t.shape or x_s.dim() != 4:
        raise DataError(
            f"maps must have one shape (n, channels, height, width), got {tuple(x_s.shape)} and {tuple(x_t.shape)}"
        )
    s, t = widened(x_s, x_t.detach())
    gap = s - t  # averaging is linear
    rows, weight, total = gap.square().flatten(1).mean(1), 1.0, 1.0
    for level in (level for level in LEVELS if level < gap.shape[2]):
        weight /= 2
        total += weight
        rows = rows + weight * F.adaptive_avg_pool2d(gap, level).square().flatten(1).mean(1)
    return reduced(rows / total, reduction)
