"""Clusters of what a teacher says as targets: a sample is told from other clusters, not from other samples.

Axis legend: n - samples, k - clusters, d - width of the common space.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    check_positive,
    reduced,
    unit_rows,
    widened,
    without_autocast,
)


@without_autocast
def cluster_contrast(
    x_s: Tensor,
    x_t: Tensor,
    centres: Tensor,
    *,
    target: Literal["nearest", "shares"] = "nearest",
    temperature: float = 0.07,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Which cluster is the sample's, as a classification whose answer the teacher gives.

    .. math:: -\sum_k q_k(t_i) \log \frac{\exp(\cos(s_i, c_k) / \tau)}{\sum_l \exp(\cos(s_i, c_l) / \tau)}

    Args:
        x_s: student features in the common space, ``(n, d)``.      x_t: teacher features, same shape.
        centres: ``(k, d)``, of clusters of the teacher's features, see :func:`cluster_centres`.
        target: ``nearest``: all of q is on the centre of greatest cosine to the teacher's row; ``shares``: q is the
            softmax of the teacher's cosines at the same temperature.
        temperature: tau > 0, default 0.07.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: nats, >= 0, of ``shares`` at least the entropy of q, which is reached where the student's cosines are the
        teacher's; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher vectors.     Gradient: to ``x_s`` only.
    Source: Caron et al. (DeepCluster), ECCV 2018, arXiv 1807.05520 (``nearest``); a definition (``shares``).
    Deviation: cosines at a temperature in the place of a linear classifier. CLIP-CID (arXiv 2408.09441) names such a
        discrimination of clusters; its formula could not be checked, and this is not said to be it.
    Raises: DataError for shapes; ConfigError for the temperature; UnknownNameError for the target.
    Example:
        >>> one = torch.eye(2)
        >>> round(float(cluster_contrast(one, one, one, temperature=1.0)), 4)
        0.3133
    """
    if x_s.dim() != 2 or x_s.shape != x_t.shape or centres.dim() != 2 or centres.shape[1] != x_s.shape[1]:
        raise DataError(
            f"features must be (n, d) in one space and centres (k, d), got {tuple(x_s.shape)}, {tuple(x_t.shape)} and "
            f"{tuple(centres.shape)}; project the student's first"
        )
    check_choice("target", target, ("nearest", "shares"))
    check_positive("temperature", temperature)
    s, t, c = (unit_rows(x) for x in widened(x_s, x_t.detach(), centres.detach()))
    ours, theirs = s @ c.T / temperature, t @ c.T / temperature
    answer = theirs.argmax(1) if target == "nearest" else theirs.softmax(1)
    return reduced(F.cross_entropy(ours, answer, reduction="none"), reduction)


@torch.no_grad()
def cluster_centres(
    x: Tensor, k: int, *, sweeps: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """Unit centres of ``k`` clusters by direction (spherical k-means).

    Args:
        x: ``(n, d)``, n >= k.      sweeps: of assignment and mean, at most; it ends when no row changes its cluster.
        generator: draws the first centre; each further one is the row that is farthest from those there are.
    Returns: ``(k, d)``, float32 or wider. A cluster that lost all its rows keeps its centre.
    Source: Dhillon and Modha, Machine Learning 42, 2001; the start of Gonzalez, 1985.
    Raises: DataError for shapes, and for fewer rows than clusters.
    Example:
        >>> cluster_centres(torch.tensor([[2.0, 0.0], [0.0, 3.0], [5.0, 0.0]]), 2).sum(0)
        tensor([1., 1.])
    """
    if x.dim() != 2 or not 1 <= k <= len(x):
        raise DataError(f"x must be (n, d) with at least k={k} rows, k at least 1, got {tuple(x.shape)}")
    rows = unit_rows(widened(x.detach())[0])
    first = int(torch.randint(len(rows), (), generator=generator))
    centres, nearest = rows[first : first + 1], rows @ rows[first]
    while len(centres) < k:
        other = rows[int(nearest.argmin())]
        centres, nearest = torch.cat([centres, other[None]]), torch.maximum(nearest, rows @ other)
    before: Tensor | None = None
    for _ in range(sweeps):
        own = (rows @ centres.T).argmax(1)
        if before is not None and torch.equal(own, before):
            break
        sums = torch.zeros_like(centres).index_add_(0, own, rows)
        centres = torch.where(sums.abs().sum(1, keepdim=True) > 0, unit_rows(sums), centres)
        before = own
    return centres
