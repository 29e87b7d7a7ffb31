"""Scores of candidates relative to each other: margins and orders agree with the teacher's, whatever their level.

Axis legend: n - queries or positions (any leading axes), k - candidates.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_choice, reduced, widened


def margin_mse(scores_s: Tensor, scores_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""How much better the first candidate is than each other, as the teacher has it.

    .. math:: \big((z_s^0 - z_s^j) - (z_t^0 - z_t^j)\big)^2, \qquad j = 1, \dots, k - 1

    Args:
        scores_s: student scores, ``(..., k)``, the relevant candidate first.     scores_t: teacher scores, same shape.
        reduction: ``mean`` over margins, ``sum``, or ``none`` for each margin, ``(..., k - 1)``.
    Returns: squared units of the scores, >= 0, 0 for scores that agree up to a constant; float32 or wider. No margin
        gives 0.
    Needs: pairing by query and candidate; teacher scores.     Gradient: to ``scores_s`` only.
    Source: Hofstatter et al., arXiv 2010.02666, equation 5.  Deviation: none.
    Raises: DataError for shapes.
    Example:
        >>> float(margin_mse(torch.tensor([[3.0, 1.0]]), torch.tensor([[5.0, 5.0]])))
        4.0
    """
    if scores_s.shape != scores_t.shape or not scores_s.shape:
        raise DataError(
            f"scores must have one shape (..., candidates), got {tuple(scores_s.shape)} and {tuple(scores_t.shape)}"
        )
    s, t = widened(scores_s, scores_t.detach())
    gap = (s[..., :1] - s[..., 1:]) - (t[..., :1] - t[..., 1:])
    return reduced(gap.square(), reduction)


def pair_ranking(
    scores_s: Tensor,
    scores_t: Tensor,
    *,
    kind: Literal["logistic", "hinge"] = "logistic",
    margin: float = 1.0,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Of every two candidates the student scores the one higher that the teacher does (RankNet, or a hinge).

    .. math:: \log\big(1 + e^{-(z_k - z_l)}\big) \quad \text{or} \quad \max(0,\, m - (z_k - z_l)), \qquad p_k > p_l

    Args:
        scores_s: student scores z, ``(..., k)``, of a language model the logits of the teacher's likeliest tokens.
        scores_t: teacher probabilities p (or scores), same shape; two that differ by 1e-9 or less have no order, and
            candidates at or below 1e-9 are left out: give probabilities.
        kind: ``logistic``, or ``hinge``.     margin: of the hinge, default 1.
        mask: ``(...)``, positions that count (not 0); default all.
        reduction: ``mean`` over ordered pairs, ``sum``, or ``none``: the mean over the pairs of each position (0
            without any).
    Returns: >= 0 (log 2 a pair where nothing is told apart); float32 or wider. No ordered pair gives 0.
    Needs: pairing by position and candidate; teacher probabilities.     Gradient: to ``scores_s`` only.
    Source: Burges et al. (RankNet), ICML 2005, section 3, with certain targets, as in DistillKit.  Deviation: none.
    Raises: DataError for shapes; UnknownNameError for the kind.
    Example:
        >>> round(float(pair_ranking(torch.zeros(1, 2), torch.tensor([[0.7, 0.3]]))), 4)
        0.6931
    """
    check_choice("kind", kind, ("logistic", "hinge"))
    if scores_s.shape != scores_t.shape or not scores_s.shape:
        raise DataError(
            f"scores must have one shape (..., candidates), got {tuple(scores_s.shape)} and {tuple(scores_t.shape)}"
        )
    if mask is not None and mask.shape != scores_s.shape[:-1]:
        raise DataError(f"mask must be {tuple(scores_s.shape[:-1])}, got {tuple(mask.shape)}")
    s, t = widened(scores_s, scores_t.detach())
    gap = s[..., :, None] - s[..., None, :]
    ordered = (t[..., :, None] > t[..., None, :] + 1e-9) & (t > 1e-9)[..., None, :]
    if mask is not None:
        ordered = ordered & (mask != 0)[..., None, None]
    loss = F.softplus(-gap) if kind == "logistic" else (margin - gap).clamp(min=0)
    sums, counts = loss.where(ordered, 0.0).sum((-2, -1)), ordered.sum((-2, -1))
    if reduction == "none":
        return sums / counts.clamp(min=1)
    return reduced(sums, reduction, torch.as_tensor(counts.sum()))
