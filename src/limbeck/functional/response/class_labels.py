"""Class numbers beside logits: checked, and the logits of the other classes."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError


def check_labelled(logits_s: Tensor, logits_t: Tensor, labels: Tensor) -> None:
    """Refuse logits that are not ``(n, c)`` on both sides, and labels that are not ``(n,)`` in [0, c); DataError."""
    if logits_s.dim() != 2 or logits_s.shape != logits_t.shape:
        raise DataError(
            f"logits_s and logits_t must both be (n, c), got {tuple(logits_s.shape)} and {tuple(logits_t.shape)}"
        )
    n, c = logits_s.shape
    if labels.shape != (n,):
        raise DataError(f"labels must be ({n},), got {tuple(labels.shape)}")
    if n and not 0 <= int(labels.min()) <= int(labels.max()) < c:
        raise DataError(
            f"labels must lie in [0, {c}), got {int(labels.min())} to {int(labels.max())}; leave rows without a "
            "label out"
        )


def without_class(z: Tensor, labels: Tensor) -> Tensor:
    """``(n, c - 1)``: the logits ``(n, c)`` of the classes other than the row's own."""
    n, c = z.shape
    others = torch.arange(c, device=z.device)[None, :] != labels[:, None]
    return z[others].reshape(n, max(c - 1, 0))
