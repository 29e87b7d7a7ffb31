"""Contrast as a distance of two laws: of pairs that belong together, and of pairs drawn apart (WCoRD)."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import widened


def dual_contrast(scores: Tensor, *, same: Tensor | None = None, negatives: float = 1.0) -> Tensor:
    r"""How much higher a critic scores pairs that belong together than pairs of strangers: the dual form of WCoRD.

    .. math:: -\frac1n \sum_i g_{ii} + M\, \frac{1}{|N|} \sum_{(i, j) \in N} g_{ij}

    With a critic of slope 1 and M = 1 it is at least the negative Wasserstein distance of the two laws of pairs;
    student and critic go down it together. The primal form is :func:`transport_cost` of student and teacher features
    with the cosine cost.

    Args:
        scores: g, ``(n, n + q)``, of every student row with its own teacher row at i = j, with those of the other rows,
            and with q of a queue. Without a bound on the critic (spectral norms, rows at length 1) it has no minimum.
        same: bool of the same shape, pairs that are none of strangers; those at i = j never are.
        negatives: M, default 1. Above 1 a critic that lowers all scores alike lowers the value too.
    Returns: scalar in units of the critic, 0 for a critic that tells nothing apart; float32 or wider. 0 without a
        row or without strangers.
    Needs: pairing by row; teacher vectors.     Gradient: to ``scores``.
    Source: Chen et al. (WCoRD), CVPR 2021, arXiv 2012.08674, global contrastive knowledge transfer.
    Deviation: not known, since neither the paper's equations nor its code were at hand to check this form. With M = 1
        it is the dual of a distance; contrast by noise weighs the strangers by their number.
    Raises: DataError for shapes.
    Example:
        >>> float(dual_contrast(torch.eye(3)))
        -1.0
    """
    if (
        scores.dim() != 2
        or scores.shape[0] > scores.shape[1]
        or (same is not None and same.shape != scores.shape)
    ):
        raise DataError(
            f"scores must be (n, n + q) and same of that shape, got {tuple(scores.shape)}"
            + ("" if same is None else f" and {tuple(same.shape)}")
        )
    (g,) = widened(scores)
    n, m = g.shape
    strangers = ~torch.eye(n, m, dtype=torch.bool, device=g.device)
    if same is not None:
        strangers &= ~same
    if not bool(strangers.any()):
        return g.sum() * 0
    return negatives * g[strangers].mean() - g.diagonal().mean()
