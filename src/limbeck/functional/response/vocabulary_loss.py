"""Cross-entropy straight from what enters the head, for vocabularies whose logits would not fit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from limbeck.errors import DataError
from limbeck.functional.precision import widened
from limbeck.functional.response.vocabulary import CHUNK_ELEMENTS

IGNORED = -100


def head_cross_entropy(
    entered: Tensor,
    weight: Tensor,
    classes: Tensor,
    *,
    bias: Tensor | None = None,
    label_smoothing: float = 0.0,
    chunk: int | None = None,
) -> Tensor:
    r"""Cross-entropy of a linear head, a run of positions at a time; their logits are made again in the backward pass.

    Args:
        entered: what enters the head, ``(..., d)``.    weight: ``(V, d)``.    bias: ``(V,)``.
        classes: ``(...)`` int64, -100 where nothing is known.
        label_smoothing: in [0, 1).
        chunk: positions at a time; default: 32 MB of logits (512 MB on an accelerator).
    Returns: the sum over the known positions in nats, float32 or wider; 0, with a gradient path, where there is none.
    Needs: labels by position. Memory: two buffers of (chunk, V).    Gradient: to ``entered``, ``weight``, ``bias``.
    Source: cross-entropy; recomputation by chunks as in Liger Kernel, arXiv 2410.10989.  Deviation: none.
    Raises: DataError for shapes that do not fit.
    Example:
        >>> float(head_cross_entropy(torch.zeros(2, 3), torch.zeros(4, 3), torch.tensor([1, -100])))
        1.3862943649291992
    """
    if entered.shape[:-1] != classes.shape or entered.shape[-1] != weight.shape[-1]:
        raise DataError(
            f"entered {tuple(entered.shape)} must be (..., d) for classes {tuple(classes.shape)} and weight "
            f"{tuple(weight.shape)} (V, d)."
        )
    known = classes != IGNORED
    rows, wanted = entered[known], classes[known]
    size = chunk or max(1, CHUNK_ELEMENTS["cpu" if entered.device.type == "cpu" else "other"] // len(weight))

    def part(rows: Tensor, wanted: Tensor) -> Tensor:
        (logits,) = widened(F.linear(rows, weight, bias))
        return F.cross_entropy(logits, wanted, label_smoothing=label_smoothing, reduction="sum")

    parts = [
        checkpoint(part, rows[i : i + size], wanted[i : i + size], use_reentrant=False)
        for i in range(0, len(rows), size)
    ]
    return torch.stack(parts).sum() if parts else (rows.sum() + 0.0 * weight[0].sum()).float()
