"""Soft labels whose column means are given: a balanced assignment of rows to classes.

Axis legend: n - rows, c - classes, g - bags.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def balanced_assignment(
    log_probs: Tensor,
    proportions: Tensor,
    *,
    present: Tensor | None = None,
    temperature: float = 1.0,
    iterations: int = 20,
) -> Tensor:
    """Soft labels ``[..., n, C]`` of bags whose column means are the bags' class proportions.

    Sinkhorn in the log domain on ``log_probs / temperature``: columns are scaled to ``proportions``, then rows to
    one, so that every row ends as a distribution.

    Args:
        log_probs: ``[..., n, C]`` finite predictions; leading axes are bags.
        proportions: ``[..., C]``, sum to 1.
        present: ``[..., n]`` bool, False for rows that only fill up a smaller bag; their soft labels are 0.
    """
    scores = log_probs.float() / temperature
    if present is None:
        present = torch.ones(scores.shape[:-1], dtype=torch.bool, device=scores.device)
    log_target = (proportions.float() * present.sum(-1, keepdim=True)).clamp(min=1e-12).log()
    row = torch.zeros_like(scores[..., 0]).masked_fill(~present, -torch.inf)
    for _ in range(iterations):
        column = log_target - (scores + row.unsqueeze(-1)).logsumexp(-2)
        row = (-(scores + column.unsqueeze(-2)).logsumexp(-1)).masked_fill(~present, -torch.inf)
    return (scores + row.unsqueeze(-1) + column.unsqueeze(-2)).exp()


@torch.no_grad()
def assignment_in_bags(
    logits: Tensor, group: Tensor, proportions: Tensor, *, temperature: float = 1.0, iterations: int = 20
) -> Tensor:
    """Soft labels of rows in bags: each bag's have its class proportions; all bags at once, smaller ones filled up.

    Args:
        logits: ``(n, c)`` predictions.    group: ``(n,)`` bag of each row, in [0, g).
        proportions: ``(g, c)``, rows sum to 1.
        temperature, iterations: as in :func:`balanced_assignment`.
    Returns: ``(n, c)`` float32, rows sum to 1.     Gradient: none.
    Source: Sinkhorn and Knopp (1967), as self-labelling uses it (Asano et al., ICLR 2020, arXiv 1911.05371).
    Deviation: the columns have given means in place of equal ones.
    """
    if not len(group):
        return torch.zeros_like(logits, dtype=torch.float32)
    sizes = torch.bincount(group, minlength=len(proportions))
    order = torch.argsort(group, stable=True)
    start = sizes.cumsum(0) - sizes
    place = torch.empty_like(group)
    place[order] = torch.arange(len(group), device=group.device) - start[group[order]]
    shape = (len(sizes), int(sizes.max()))
    scores = torch.zeros(*shape, logits.shape[1], device=logits.device)
    scores[group, place] = logits.float().log_softmax(1)
    present = torch.zeros(shape, dtype=torch.bool, device=logits.device)
    present[group, place] = True
    found = balanced_assignment(
        scores, proportions, present=present, temperature=temperature, iterations=iterations
    )
    return found[group, place]
