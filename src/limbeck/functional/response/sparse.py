"""Divergence from a teacher of which only the likeliest k tokens were kept.

Axis legend: n - rows or positions (any leading axes), V - tokens, k - those that were kept.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_choice, check_positive, reduced, widened

Kind = Literal["forward_kl", "tv"]
RestOf = Literal["one_bin", "renormalised"]


def sparse_divergence(
    logits_s: Tensor,
    ids: Tensor,
    log_probs_t: Tensor,
    *,
    kind: Kind = "forward_kl",
    rest: RestOf = "one_bin",
    temperature: float = 1.0,
    temperature_t: float = 1.0,
    variant: Literal["alike", "distillkit"] = "alike",
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Divergence of the student's distribution q from the likeliest k of the teacher's p.

    .. math:: T^2 \sum_{i \in \mathrm{kept}} p_i \log \frac{p_i}{q_i} + T^2\, \bar p \log \frac{\bar p}{\bar q}
        \quad \text{or} \quad \tfrac12 \sum_{i \in \mathrm{kept}} |p_i - q_i| + \tfrac12 |\bar p - \bar q|

    with the bars for all that was not kept.

    Args:
        logits_s: student logits, ``(..., V)``.      ids: ``(..., k)`` int64 in [0, V), each once.
        log_probs_t: ``(..., k)``, the teacher's log-probabilities of them; logits only with ``renormalised``.
        kind: ``forward_kl`` or ``tv`` (total variation). A reverse divergence of k tokens without the rest has no
            minimum worth having, and is not offered.
        rest: ``one_bin``: all others are one outcome on both sides; ``renormalised``: the teacher's k sum to 1.
        temperature: T > 0, default 1; softens both sides.
        temperature_t: > 0, default 1: at which the teacher's values were taken.
        variant: of ``one_bin`` at a temperature: ``alike``: both sides are softened as k + 1 outcomes, which is 0 at
            equality; ``distillkit``: the student's bin is the sum of its softened others, the teacher's one softened
            outcome, which is not.
        mask: ``(...)``, positions that count (not 0); default all.
        reduction: ``mean`` over the positions that count, ``sum``, or ``none`` (0 where the mask hides).
    Returns: nats times T^2 (shares for ``tv``), >= 0 up to rounding; float32 or wider. No position gives 0.
    Needs: pairing by position; the teacher's likeliest k.     Gradient: to ``logits_s`` only.
    Source: sparse logits as in DistillKit; the rest as one bin as in Peng et al., arXiv 2410.16215.
    Deviation: see ``variant``.
    Raises: DataError for shapes; UnknownNameError; ConfigError for the temperatures.
    Example:
        >>> z = torch.tensor([[2.0, 1.0, 0.0]])
        >>> kept = torch.tensor([[0, 1]])
        >>> round(float(sparse_divergence(z, kept, z.log_softmax(-1)[:, :2], temperature=3.0)), 4)
        0.0
    """
    check_choice("kind", kind, ("forward_kl", "tv"))
    check_choice("rest", rest, ("one_bin", "renormalised"))
    check_choice("variant", variant, ("alike", "distillkit"))
    check_positive("temperature", temperature)
    check_positive("temperature_t", temperature_t)
    _check(logits_s, ids, log_probs_t, mask)
    s, t = widened(logits_s, log_probs_t.detach())
    log_q, log_p = _outcomes(s, ids, t, rest, variant, temperature, temperature_t)
    if kind == "tv":
        rows = (log_p.exp() - log_q.exp()).abs().sum(-1) / 2
    else:
        rows = (log_p.exp() * torch.where(log_p == -math.inf, 0.0, log_p - log_q)).sum(-1) * temperature**2
    if mask is None:
        return reduced(rows, reduction)
    shown = mask != 0
    return reduced(rows.where(shown, 0.0), reduction, shown.sum())


def _outcomes(
    s: Tensor, ids: Tensor, t: Tensor, rest: str, variant: str, temperature: float, temperature_t: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``(..., k + 1)`` of both sides, the last of all others together (k where none are left)."""
    if ids.shape[-1] == s.shape[-1]:  # what rounding leaves of the teacher's mass is nobody's
        kept = s.gather(-1, ids) / temperature
        return F.log_softmax(kept, -1), F.log_softmax(t * (temperature_t / temperature), -1)
    if rest == "renormalised":
        log_p = F.log_softmax(t * (temperature_t / temperature), -1)
        return _binned(s / temperature, ids), F.pad(log_p, (0, 1), value=-math.inf)
    log_p = torch.cat([t, _log_others(t)], -1)
    if variant == "alike":
        log_q = _binned(s / temperature_t, ids) * (temperature_t / temperature)
        return F.log_softmax(log_q, -1), F.log_softmax(log_p * (temperature_t / temperature), -1)
    return _binned(s / temperature, ids), F.log_softmax(log_p * (temperature_t / temperature), -1)


def _binned(s: Tensor, ids: Tensor) -> Tensor:
    """The student's log-probabilities of the kept tokens and, last, of all others together."""
    # summed over the others: 1 less the sum of the kept would lose a small rest to rounding
    others = s.scatter(-1, ids, -math.inf).logsumexp(-1, keepdim=True)
    return F.log_softmax(torch.cat([s.gather(-1, ids), others], -1), -1)


def _log_others(log_probs: Tensor) -> Tensor:
    """``(..., 1)``: log of the mass that is left, -inf for none."""
    return torch.log1p(-log_probs.double().exp().sum(-1, keepdim=True).clamp(max=1.0)).to(log_probs.dtype)


def _check(logits_s: Tensor, ids: Tensor, log_probs_t: Tensor, mask: Tensor | None) -> None:
    if ids.shape != log_probs_t.shape or ids.shape[:-1] != logits_s.shape[:-1]:
        raise DataError(
            f"ids and log_probs_t must be (..., k) for logits_s (..., V), got {tuple(ids.shape)}, "
            f"{tuple(log_probs_t.shape)} and {tuple(logits_s.shape)}"
        )
    if not 1 <= ids.shape[-1] <= logits_s.shape[-1]:
        raise DataError(f"1 to {logits_s.shape[-1]} tokens can be kept of as many, not {ids.shape[-1]}")
    if mask is not None and mask.shape != logits_s.shape[:-1]:
        raise DataError(f"mask must be {tuple(logits_s.shape[:-1])}, got {tuple(mask.shape)}")
