"""What two predictions say beside the target class (C2KD).

Axis legend: n - rows, c - classes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_choice, reduced, widened
from limbeck.functional.response.class_labels import check_labelled, without_class


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
    check_labelled(logits_s, logits_t, labels)
    if mask is not None and mask.shape != labels.shape:
        raise DataError(f"mask must be {tuple(labels.shape)}, got {tuple(mask.shape)}")
    s, t = widened(logits_s, logits_t.detach())
    if variant == "official":
        own = labels[:, None]
        log_q, log_p = (F.log_softmax(z.scatter(1, own, 0.0), -1) for z in (s, t))
    else:
        log_q, log_p = (F.log_softmax(without_class(z, labels), -1) for z in (s, t))
    rows = (log_p.exp() * (log_p - log_q)).sum(-1)
    return reduced(rows if mask is None else rows.where(mask != 0, 0.0), reduction)
