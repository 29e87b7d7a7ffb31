"""One parametric divergence between a student's and a teacher's distribution, position by position.

Axis legend: n - rows or positions (any leading axes), c - classes or tokens.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    check_positive,
    check_share,
    reduced,
    widened,
)

Divergence = Literal["forward_kl", "reverse_kl", "jsd", "skew", "skew_reverse", "symmetric", "tv", "mse"]


def divergence(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    kind: Divergence = "forward_kl",
    beta: float = 0.5,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
    trains_teacher: bool = False,
) -> Tensor:
    r"""Divergence of the student's distribution q from the teacher's p; zero when they agree.

    .. math::
        KL(p\|q),\quad KL(q\|p),\quad
        \beta KL(p\|m) + (1-\beta) KL(q\|m)\ \text{with}\ m = \beta p + (1-\beta) q,\quad
        KL(p \| \beta p + (1-\beta) q),\quad KL(q \| \beta q + (1-\beta) p),\quad
        \tfrac12 (KL(p\|q) + KL(q\|p)),\quad \tfrac12 \sum_c |p_c - q_c|,\quad \tfrac1C \sum_c (z_{t,c} - z_{s,c})^2

    in the order of ``kind``; all but the last two times :math:`T^2`.

    Args:
        logits_s: student logits, ``(..., c)``.    logits_t: teacher logits or log-probabilities, same shape; of ``mse``
            logits. -inf stands for probability 0.
        kind: ``forward_kl``, ``reverse_kl``, ``jsd`` (generalised Jensen-Shannon), ``skew``, ``skew_reverse``,
            ``symmetric``, ``tv`` (total variation), ``mse`` (of logits, without temperature).
        beta: in [0, 1], default 0.5: the teacher's share of the mixture in ``jsd`` (0 and 1 are *defined* as forward
            and reverse KL, which are not its limits) and in ``skew``; the student's share in ``skew_reverse``.
        temperature: float > 0, default 1; softens both sides.
        mask: ``(...)``, positions that count (not 0); default all.
        reduction: ``mean`` over the positions that count, ``sum``, or ``none`` (0 where the mask hides).
        trains_teacher: also let the gradient through to ``logits_t``, default False.
    Returns: nats times T^2 (shares for ``tv``), >= 0 up to rounding; float32 or wider. No position gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only, unless ``trains_teacher``.
    Source: Hinton et al., arXiv 1503.02531; Agarwal et al. (GKD), arXiv 2306.13649, section 3; Ko et al. (DistiLLM),
        arXiv 2402.03898, equation 3 (their alpha is beta).  Deviation: GKD has no T^2.
    Raises: DataError for different shapes; UnknownNameError for a kind; ConfigError for beta and temperature.
    Example:
        >>> float(divergence(torch.zeros(2, 3), torch.zeros(2, 3), kind="jsd"))
        0.0
    """
    if logits_s.shape != logits_t.shape:
        raise DataError(
            f"logits_s and logits_t must have one shape, got {tuple(logits_s.shape)} and {tuple(logits_t.shape)}"
        )
    check_choice("kind", kind, get_args(Divergence))
    check_positive("temperature", temperature)
    check_share("beta", beta)
    s, t = widened(logits_s, logits_t if trains_teacher else logits_t.detach())
    if kind == "mse":
        rows = (s - t).square().mean(-1)
    else:
        log_q, log_p = F.log_softmax(s / temperature, -1), F.log_softmax(t / temperature, -1)
        rows = _TERMS[kind](log_p, log_q, beta) * (1.0 if kind == "tv" else temperature**2)
    if mask is None:
        return reduced(rows, reduction)
    shown = mask != 0
    return reduced(rows.where(shown, 0.0), reduction, shown.sum())


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a || b) over the last axis; what a excludes counts 0."""
    gap = log_a - log_b
    if not _excludes_nothing(log_a):
        gap = torch.where(log_a == -torch.inf, 0.0, gap)
    return (log_a.exp() * gap).sum(-1)


def _excludes_nothing(log_a: Tensor) -> bool:
    """Whether it is known that no log-probability is -inf; never where finding out would make an accelerator wait."""
    if log_a.device.type != "cpu" or not log_a.numel() or torch.compiler.is_compiling():
        return False
    try:
        return bool(log_a.detach().amin() > -torch.inf)
    except RuntimeError:  # under torch.vmap no value can be asked for
        return False


def _mixed(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """Logarithm of ``share a + (1 - share) b``, which does not underflow."""
    return torch.logaddexp(log_a + math.log(share), log_b + math.log1p(-share))


def _jsd(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    if beta in (0.0, 1.0):
        return _kl(log_p, log_q) if beta == 0 else _kl(log_q, log_p)
    log_m = _mixed(log_p, log_q, beta)
    return beta * _kl(log_p, log_m) + (1 - beta) * _kl(log_q, log_m)


def _skew(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """KL(a || share a + (1 - share) b); at share 1 zero, with a gradient path to both."""
    if share == 1:
        return _kl(log_a, log_a) + 0 * log_b.exp().sum(-1)
    return _kl(log_a, log_b if share == 0 else _mixed(log_a, log_b, share))


_TERMS = {
    "forward_kl": lambda log_p, log_q, beta: _kl(log_p, log_q),
    "reverse_kl": lambda log_p, log_q, beta: _kl(log_q, log_p),
    "jsd": _jsd,
    "skew": _skew,
    "skew_reverse": lambda log_p, log_q, beta: _skew(log_q, log_p, beta),
    "symmetric": lambda log_p, log_q, beta: (_kl(log_p, log_q) + _kl(log_q, log_p)) / 2,
    "tv": lambda log_p, log_q, beta: (log_p.exp() - log_q.exp()).abs().sum(-1) / 2,
}
