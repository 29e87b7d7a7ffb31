"""Losses between attention scores of student and teacher: as numbers, or as distributions over keys.

Scores are what a head computes before its softmax, ``(n, h, q, k)``. Axis legend: n - rows, h - heads, q - queries,
k - keys. A fused kernel never makes them: load such a model with its eager attention.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_choice, reduced, widened

Variant = Literal["paper", "textbrewer"]
PADDING = -1e-3  # what TextBrewer takes for the -10000 of a padded key


def attention_mse(
    scores_s: Tensor,
    scores_t: Tensor,
    *,
    heads: Literal["each", "sum"] = "each",
    mask: Tensor | None = None,
    variant: Variant = "paper",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared difference of attention scores; zero when they agree.

    .. math:: (a_s - a_t)^2

    Args:
        scores_s: student scores before the softmax, ``(n, h, q, k)``.      scores_t: teacher scores, same shape; with
            ``sum`` the numbers of heads may differ.
        heads: ``each`` head with its own; ``sum``: the sum over heads with the sum over heads.
        mask: ``(n, q)``, tokens that count (not 0), as queries and as keys; default all.
        variant: ``paper`` as above; ``textbrewer``: without a mask scores at or below -1e-3 count as 0 on both sides,
            which drops a padding of -10000 and with it about half of ordinary scores.
        reduction: ``mean`` over the entries that count, ``sum``, or ``none`` for each entry (0 where hidden).
    Returns: squared units of the scores, >= 0; float32 or wider. No entry gives 0.
    Needs: pairing by row and by token; teacher scores.     Gradient: to ``scores_s`` only.
    Source: Jiao et al. (TinyBERT), EMNLP Findings 2020, arXiv 1909.10351, equation 7.  Deviation: see ``variant``.
    Raises: DataError for shapes; UnknownNameError for ``heads`` and the variant.
    Example:
        >>> float(attention_mse(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)))
        1.0
    """
    check_choice("heads", heads, ("each", "sum"))
    check_choice("variant", variant, ("paper", "textbrewer"))
    s, t, shown = _scores(scores_s, scores_t, mask, pooled=heads != "each")
    if heads == "sum":
        s, t = s.sum(1, keepdim=True), t.sum(1, keepdim=True)
    if variant == "textbrewer" and mask is None:
        s, t = (x.where(x > PADDING, 0.0) for x in (s, t))
    gap = (s - t).square()
    if shown is None:
        return reduced(gap, reduction)
    return reduced(gap.where(shown, 0.0), reduction, shown.sum() * s.shape[1])


def attention_cross_entropy(
    scores_s: Tensor,
    scores_t: Tensor,
    *,
    heads: Literal["each", "mean"] = "each",
    mask: Tensor | None = None,
    variant: Variant = "paper",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross entropy of the student's attention under the teacher's, query by query.

    .. math:: -\sum_k \mathrm{softmax}(a_t)_k \log \mathrm{softmax}(a_s)_k

    Args:
        scores_s: student scores before the softmax, ``(n, h, q, k)``.      scores_t: teacher scores, same shape; with
            ``mean`` the numbers of heads may differ.
        heads: ``each`` head with its own; ``mean``: scores averaged over heads first.
        mask: ``(n, q)``, tokens that count (not 0), as queries and as keys; default all.
        variant: ``paper``: the softmax runs over the keys that count. ``textbrewer``: over all keys, and the terms of
            hidden ones are dropped afterwards; without a mask those of keys with a teacher score at or below -1e-3.
        reduction: ``mean`` over the queries that count and heads, ``sum``, or ``none`` for each query (0 where hidden).
    Returns: nats, at equality the entropy of the teacher's attention and not 0; float32 or wider. No query gives 0.
    Needs: pairing by row and by token; teacher scores.     Gradient: to ``scores_s`` only.
    Source: Yang et al. (TextBrewer), ACL 2020 demonstrations, arXiv 2002.12620; less the entropy it is the attention
        transfer of Wang et al. (MiniLM), arXiv 2002.10957, equation 4.  Deviation: see ``variant``.
    Raises: DataError for shapes; UnknownNameError for ``heads`` and the variant.
    Example:
        >>> round(float(attention_cross_entropy(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))), 4)
        0.6931
    """
    check_choice("heads", heads, ("each", "mean"))
    check_choice("variant", variant, ("paper", "textbrewer"))
    s, t, shown = _scores(scores_s, scores_t, mask, pooled=heads != "each")
    if heads == "mean":
        s, t = s.mean(1, keepdim=True), t.mean(1, keepdim=True)
    counted = shown
    if variant == "textbrewer":
        counted = t > PADDING if shown is None else shown
    elif shown is not None:
        s, t = (x.masked_fill(~shown, torch.finfo(x.dtype).min) for x in (s, t))
    product = t.softmax(-1) * F.log_softmax(s, -1)
    rows = -(product if counted is None else product.where(counted, 0.0)).sum(-1)
    if shown is None:
        return reduced(rows, reduction)
    return reduced(rows, reduction, shown.any(-1).sum() * s.shape[1])


def _scores(
    scores_s: Tensor, scores_t: Tensor, mask: Tensor | None, *, pooled: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Both sides in their computing type, the teacher's detached, and ``(n, 1, q, k)``: pairs of tokens that count."""
    first, second = (
        (tuple(x.shape[:1] + x.shape[2:]) if pooled else tuple(x.shape)) for x in (scores_s, scores_t)
    )
    if scores_s.dim() != 4 or scores_t.dim() != 4 or first != second:
        raise DataError(
            f"attention scores must be (n, heads, queries, keys) of the same tokens{'' if pooled else ' and heads'}, "
            f"got {tuple(scores_s.shape)} and {tuple(scores_t.shape)}"
        )
    s, t = widened(scores_s, scores_t.detach())
    if mask is None:
        return s, t, None
    if mask.shape != (len(s), s.shape[2]) or s.shape[2] != s.shape[3]:
        raise DataError(
            f"mask must be (n, tokens) of square scores, got {tuple(mask.shape)} for {tuple(scores_s.shape)}"
        )
    token = mask != 0
    return s, t, (token[:, :, None] & token[:, None, :])[:, None]
