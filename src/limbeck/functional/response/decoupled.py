"""Divergences that take a prediction apart: target from the rest, class from class, rows from columns.

Axis legend: n - rows, c - classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    check_positive,
    reduced,
    widened,
)
from limbeck.functional.response.class_labels import check_labelled, without_class


def _check_pair(logits_s: Tensor, logits_t: Tensor, shape: str) -> None:
    if logits_s.shape != logits_t.shape or (shape == "(n, c)" and logits_s.dim() != 2):
        raise DataError(
            f"logits_s and logits_t must both be {shape}, got {tuple(logits_s.shape)} and {tuple(logits_t.shape)}"
        )


def decoupled_kl(
    logits_s: Tensor,
    logits_t: Tensor,
    labels: Tensor,
    *,
    weight_target: float = 1.0,
    weight_rest: float = 8.0,
    temperature: float = 4.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Divergence about the target class, and that among all others, each with a weight of its own (DKD).

    .. math:: T^2 \big( \alpha\, KL(b_t \,\|\, b_s) + \beta\, KL(\hat p_t \,\|\, \hat p_s) \big)

    with b = (p_y, 1 - p_y) and p-hat the softmax over the classes other than y. Plain distillation is alpha = 1 and
    beta = 1 - p_t(y), which is small where the teacher is sure.

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits or log-probabilities, same shape; finite.
        labels: ``(n,)`` int64 in [0, c), the class y of each row.
        weight_target: alpha, default 1.      weight_rest: beta, default 8.
        temperature: float > 0, default 4; softens both sides.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: nats times T^2, >= 0 up to rounding, 0 at equality; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher logits; a class for each row.     Gradient: to ``logits_s`` only.
    Source: Zhao et al., CVPR 2022, arXiv 2203.08679, equation 7.
    Deviation: computed from log-probabilities, so that a sure student gives a number where the authors' code gives
        inf; they ramp the whole term up over the first epochs, which here is a curve of its weight.
    Raises: DataError for shapes, for labels outside [0, c) and for one class; ConfigError for the temperature.
    Example:
        >>> float(decoupled_kl(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1])))
        0.0
    """
    check_positive("temperature", temperature)
    check_labelled(logits_s, logits_t, labels)
    if logits_s.shape[1] < 2:
        raise DataError(f"the classes must be two or more, got {logits_s.shape[1]}")
    s, t = (z / temperature for z in widened(logits_s, logits_t.detach()))
    target = _kl(_target_or_not(t, labels), _target_or_not(s, labels))
    others = _kl(*(F.log_softmax(without_class(z, labels), -1) for z in (t, s)))
    return reduced((weight_target * target + weight_rest * others) * temperature**2, reduction)


def _target_or_not(z: Tensor, labels: Tensor) -> Tensor:
    """``(n, 2)``: log-probabilities of the target and of all others together."""
    gap = z.gather(1, labels[:, None])[:, 0] - without_class(z, labels).logsumexp(-1)
    return torch.stack([F.logsigmoid(gap), F.logsigmoid(-gap)], -1)


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    return (log_a.exp() * (log_a - log_b)).sum(-1)


def binary_kl(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Each output as a yes or no of its own: divergence of sigmoids, summed over outputs.

    .. math:: T^2 \sum_c KL\big((\sigma(z_t^c / T), 1 - \sigma) \,\|\, (\sigma(z_s^c / T), 1 - \sigma)\big)

    Args:
        logits_s: student logits, ``(..., c)``.      logits_t: teacher logits (not log-probabilities), same shape.
        temperature: float > 0, default 1; softens both sides.
        reduction: ``mean`` over rows (never over outputs), ``sum``, or ``none`` for one value a row.
    Returns: nats times T^2, >= 0 up to rounding, 0 at equality; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only.
    Source: Yang et al. (L2D), ICCV 2023, arXiv 2308.06453, the logits part.  Deviation: T is 1 there.
    Raises: DataError for different shapes; ConfigError for the temperature.
    Example:
        >>> float(binary_kl(torch.zeros(2, 3), torch.zeros(2, 3)))
        0.0
    """
    _check_pair(logits_s, logits_t, "(..., c)")
    check_positive("temperature", temperature)
    s, t = (z / temperature for z in widened(logits_s, logits_t.detach()))
    yes_no = [torch.stack([F.logsigmoid(z), F.logsigmoid(-z)], -1) for z in (t, s)]
    return reduced(_kl(*yes_no).sum(-1) * temperature**2, reduction)


def binary_kl_norm(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    temperature: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The difference of each logit as a yes or no: its divergence from a draw, summed over outputs.

    .. math:: T^2 \sum_c KL\big((\tfrac12, \tfrac12) \,\|\, (\sigma(d_c), 1 - \sigma(d_c))\big), \quad
        d_c = (z_s^c - z_t^c) / T

    Args:
        logits_s: student logits, ``(..., c)``.      logits_t: teacher logits (not log-probabilities), same shape.
        temperature: float > 0, default 2.
        reduction: ``mean`` over rows (never over outputs), ``sum``, or ``none`` for one value a row.
    Returns: nats times T^2, >= 0 up to rounding, 0 at equality, near c T |d| / 2 far from it; float32 or wider. An
        empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only.
    Source: Yang et al. (DHKD, BinaryKL-Norm), KDD 2025, arXiv 2411.08937, and the authors' code.
    Deviation: from log-sigmoids, where they clamp the probabilities at 1e-8.
    Raises: DataError for different shapes; ConfigError for the temperature.
    Example:
        >>> float(binary_kl_norm(torch.zeros(2, 3), torch.zeros(2, 3)))
        0.0
    """
    _check_pair(logits_s, logits_t, "(..., c)")
    check_positive("temperature", temperature)
    s, t = widened(logits_s, logits_t.detach())
    gap = (s - t) / temperature
    draw = -math.log(2) - (F.logsigmoid(gap) + F.logsigmoid(-gap)) / 2
    return reduced(draw.sum(-1) * temperature**2, reduction)


def prediction_correlation(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    over: str = "classes",
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""One less the correlation of the two predictions: of a row over classes, or of a class over rows (DIST).

    .. math:: T^2 \big(1 - \rho(\mathrm{softmax}(z_s / T), \mathrm{softmax}(z_t / T))\big)

    with rho Pearson's correlation. A shift and a scale of the predictions count nothing: a stronger teacher is followed
    in what it prefers, not in how sure it is.

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits or log-probabilities, same shape.
        over: ``classes``: each row's correlation over classes (inter-class); ``rows``: each class's over the rows of
            the batch (intra-class).
        temperature: float > 0, default 1; softens both sides.
        reduction: ``mean`` over rows (or classes), ``sum``, or ``none`` for one value each.
    Returns: in [0, 2] times T^2, 0 for predictions that agree; float32 or wider. Where either side does not vary
        (one row, a uniform prediction) the correlation counts 0. An empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only; ``rows`` couples the batch.
    Source: Huang et al., NeurIPS 2022, arXiv 2205.10536, equations 8 to 10.
    Deviation: none (the factor T^2 is that of the authors' code).
    Raises: DataError for shapes; UnknownNameError for ``over``; ConfigError for the temperature.
    Example:
        >>> z = torch.tensor([[1.0, 0.0]])
        >>> round(float(prediction_correlation(z, -z)), 6)
        2.0
    """
    _check_pair(logits_s, logits_t, "(n, c)")
    check_choice("over", over, ("classes", "rows"))
    check_positive("temperature", temperature)
    p_s, p_t = ((z / temperature).softmax(-1) for z in widened(logits_s, logits_t.detach()))
    if not len(p_s):
        return reduced(p_s.sum(-1) if over == "classes" else p_s.sum(0), reduction)
    if over == "rows":
        p_s, p_t = p_s.T, p_t.T
    return reduced((1 - _correlation(p_s, p_t)) * temperature**2, reduction)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's, over the last axis; 0, without a slope, where either does not vary."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    size_a, size_b = (x.square().sum(-1) for x in (a, b))
    tiny = 1e3 * torch.finfo(a.dtype).tiny
    constant = (size_a <= tiny) | (size_b <= tiny)
    scale = torch.where(constant, 1.0, size_a).sqrt() * torch.where(constant, 1.0, size_b).sqrt()
    return torch.where(constant, 0.0, (a * b).sum(-1) / scale)
