"""What two predictions say beside the target class (C2KD).

Axis legend: n - rows, c - classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_choice, reduced, widened


def non_target_kl(
    logits_s: Tensor,
    logits_t: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    variant: Literal["paper", "official"] = "paper",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Divergence of the student's prediction from the teacher's among the classes other than the target.

    .. math:: KL(\hat p_t \,\|\, \hat p_s), \qquad \hat p = \mathrm{softmax}\big((z_c)_{c \neq y}\big)

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits or log-probabilities, same shape; finite.
        labels: ``(n,)`` int64 in [0, c), the class y.
        mask: ``(n,)``, rows that count (not 0); the others count 0 and stay in the mean; default all.
        variant: ``paper`` as above; ``official``, the authors' code: the target stays in the softmax with the logit 0.
        reduction: ``mean`` over all rows, ``sum``, or ``none`` for one value a row.
    Returns: nats, >= 0 up to rounding, 0 at equality; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; a class for each row.     Gradient: to ``logits_s`` only.
    Source: Huo et al. (C2KD), CVPR 2024, the non-target classes knowledge.  Deviation: see ``variant``.
    Raises: DataError for shapes and labels; UnknownNameError for the variant.
    Example:
        >>> s, t = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[1.0, 2.0, 2.0]])
        >>> float(non_target_kl(s, t, torch.tensor([0])))
        0.0
    """
    check_choice("variant", variant, ("paper", "official"))
    if logits_s.dim() != 2 or logits_s.shape != logits_t.shape or labels.shape != logits_s.shape[:1]:
        raise DataError(
            f"logits must both be (n, c) and labels (n,), got {tuple(logits_s.shape)}, {tuple(logits_t.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if mask is not None and mask.shape != labels.shape:
        raise DataError(f"mask must be {tuple(labels.shape)}, got {tuple(mask.shape)}")
    n, c = logits_s.shape
    if n and not 0 <= int(labels.min()) <= int(labels.max()) < c:
        raise DataError(
            f"labels must lie in [0, {c}), got {int(labels.min())} to {int(labels.max())}; leave rows without a "
            "label out"
        )
    s, t = widened(logits_s, logits_t.detach())
    own = torch.arange(c, device=s.device)[None, :] == labels[:, None]
    log_q, log_p = (
        F.log_softmax(z.masked_fill(own, 0.0), -1)
        if variant == "official"
        else F.log_softmax(z[~own].reshape(n, max(c - 1, 0)), -1)
        for z in (s, t)
    )
    rows = (log_p.exp() * (log_p - log_q)).sum(-1)
    return reduced(rows if mask is None else rows.where(mask != 0, 0.0), reduction)
