"""Rows of all ranks as one batch, for terms that couple rows (transport, MMD, InfoNCE)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_with_grad(x: Tensor) -> Tensor:
    """The rows ``[n_0 + n_1 + ..., ...]`` of all ranks, in rank order; ``x [n_rank, ...]`` elsewhere alone.

    Row counts may differ between ranks and may be zero; all other axes and the dtype must be the same. Every
    rank must call it, in the same order.

    Gradient: to ``x``, summed over the ranks' losses. So where each rank computes the same loss from the
    gathered rows and DDP averages over ranks, parameters get that loss's gradient once, as in one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    return _AllGatherRows.apply(x) if x.is_floating_point() else _gather(x)[0]


def _row_counts(x: Tensor) -> list[int]:
    """How many rows each rank holds."""
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device))
    return [int(count) for count in counts]


def _gather(x: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of all ranks and their counts; padded on the way, as collectives need equal shapes."""
    counts = _row_counts(x)
    padded = x.new_zeros(max(counts), *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]), counts


class _AllGatherRows(torch.autograd.Function):
    """All-gather whose backward gives each rank the gradients that all ranks have for its rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows, counts = _gather(x)
        ctx.start, ctx.n = sum(counts[: dist.get_rank()]), len(x)
        return rows

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.n]
