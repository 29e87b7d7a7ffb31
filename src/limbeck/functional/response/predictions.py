"""Divergences between what student and teacher predict: row by row, over labels, and over whole bags.

Axis legend: n - rows (any leading axes), c - classes, d - features, g - bags.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    check_finite,
    check_positive,
    computing_dtype,
    reduced,
    widened,
    without_autocast,
)
from limbeck.functional.response.divergence import divergence

LabelAlignment = Literal["paper", "official_sumall", "official_bilevel"]
LABEL_ALIGNMENTS = ("paper", "official_sumall", "official_bilevel")
NO_LABEL = -100


def _same_shape(a: Tensor, b: Tensor, names: str) -> None:
    if a.shape != b.shape:
        raise DataError(f"{names} must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def distillation_kl(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
    trains_teacher: bool = False,
    validate: bool = False,
) -> Tensor:
    r"""Divergence of the student's softened prediction from the teacher's; zero when they agree.

    .. math:: T^2\, KL\big(\mathrm{softmax}(z_t / T) \,\|\, \mathrm{softmax}(z_s / T)\big)

    Args:
        logits_s: student logits, ``(..., c)``.
        logits_t: teacher logits or log-probabilities, same shape; -inf stands for probability 0.
        temperature: float > 0, default 1; softens both sides. The factor T^2 keeps the size of the gradient.
        reduction: ``mean`` over rows (never over classes), ``sum``, or ``none`` for one value a row.
        trains_teacher: also let the gradient through to ``logits_t`` (two nets that learn together), default False.
        validate: refuse non-finite student logits, naming the row.
    Returns: nats times T^2, >= 0 up to rounding; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only, unless ``trains_teacher``.
    Source: Hinton, Vinyals, Dean, arXiv 1503.02531, section 2.  Deviation: none.
    Raises: DataError for different shapes; ConfigError for the temperature.
    Example:
        >>> float(distillation_kl(torch.zeros(2, 3), torch.zeros(2, 3), temperature=4.0))
        0.0
    """
    if validate:
        check_finite(logits_s, "logits_s")
    return divergence(
        logits_s, logits_t, temperature=temperature, reduction=reduction, trains_teacher=trains_teacher
    )


def prediction_mse(logits_s: Tensor, logits_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Squared difference of two predictions, a mean over the classes; zero when they agree.

    .. math:: \frac1C \sum_c \big(\mathrm{softmax}(z_s)_c - \mathrm{softmax}(z_t)_c\big)^2

    Args:
        logits_s: student logits, ``(..., c)``.      logits_t: teacher logits or log-probabilities, same shape.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: in [0, 2 / c]; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only.
    Source: Tarvainen and Valpola (Mean Teacher), NeurIPS 2017, arXiv 1703.01780, equation 1, with the authors' division
        by the number of classes.  Deviation: none.
    Raises: DataError for different shapes.
    Example:
        >>> float(prediction_mse(torch.zeros(2, 3), torch.ones(2, 3)))
        0.0
    """
    _same_shape(logits_s, logits_t, "logits_s and logits_t")
    s, t = widened(logits_s, logits_t.detach())
    return reduced((s.softmax(-1) - t.softmax(-1)).square().mean(-1), reduction)


def soft_cross_entropy(
    logits_s: Tensor, probs_t: Tensor, *, reduction: Reduction = "mean", validate: bool = False
) -> Tensor:
    r"""Cross entropy of the student's prediction under soft labels.

    .. math:: -\sum_c q_c \log \mathrm{softmax}(z_s)_c

    Args:
        logits_s: student logits, ``(..., c)``.
        probs_t: soft labels, same shape, >= 0; rows normally sum to 1 (a row of zeros is left out).
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
        validate: refuse non-finite input, naming the row.
    Returns: nats; float32 or wider; at ``q = softmax(z_s)`` the entropy of q, not 0. An empty batch gives 0.
    Needs: pairing by row.     Gradient: to ``logits_s`` only.
    Source: Hinton, Vinyals, Dean, arXiv 1503.02531, section 2.  Deviation: no temperature; divide the logits.
    Raises: DataError for different shapes.
    Example:
        >>> round(float(soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))), 4)
        0.6931
    """
    _same_shape(logits_s, probs_t, "logits_s and probs_t")
    if validate:
        check_finite(logits_s, "logits_s")
        check_finite(probs_t, "probs_t")
    s, q = widened(logits_s, probs_t.detach())
    return reduced(-(q * F.log_softmax(s, -1)).sum(-1), reduction)


@without_autocast
def label_alignment(
    logits_s: Tensor,
    features_s: Tensor,
    head_t: tuple[Tensor, Tensor | None],
    labels: Tensor,
    *,
    variant: LabelAlignment = "paper",
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    reduction: Reduction = "mean",
    validate: bool = False,
) -> Tensor:
    r"""Label loss of the student less that of the teacher's head on the student's features (UCMKD).

    .. math:: CE(z_s, y) - \kappa\, CE(h_t(f_s), y), \qquad \kappa = \mathrm{softmax}(h_t(f_s))_y

    with kappa detached.

    Args:
        logits_s: student logits, ``(n, c)``.      features_s: student features, ``(n, d)``.
        head_t: the teacher's classifier, ``(weight (c, d), bias (c,) or None)``; takes no gradient.
        labels: ``(n,)`` int64 in [0, c); -100 = no label, such a row counts 0 and is left out of the mean.
        variant: ``paper``: the difference above, both label losses smoothed alike, gradient through both.
            ``official_sumall``: the authors' joint mode, ``-log p_s(y) + kappa log p_t(y)``: the same
            difference, never smoothed (``label_smoothing`` is ignored). Descent *lowers* the teacher head's
            confidence in the true class.
            ``official_bilevel``: the authors' bilevel mode: both losses smoothed (they use 0.1), the
            teacher's head evaluated without gradient, so that the second part changes the value and nothing
            else.
        label_smoothing: in [0, 1), default 0.
        class_weights: ``(c,)`` of both label losses, as in the label loss beside it; default: 1 each.
        reduction: ``mean`` over labelled rows, ``sum``, or ``none`` for one value a row.
        validate: refuse non-finite input, naming the row.
    Returns: nats, may be negative; float32 or wider. An empty batch gives 0.
    Needs: labels; the teacher's head; student features of the teacher's width.
    Gradient: to ``logits_s``, and to ``features_s`` except for ``official_bilevel``; never through kappa.
    Source: UCMKD, arXiv 2606.10504, label alignment; code Duckduck-05/UCMKD, ``ravdess/utils/helper.py``.
    Deviation: see ``variant``.
    Raises: DataError for shapes that do not fit; UnknownNameError for a wrong variant.
    """
    check_choice("variant", variant, LABEL_ALIGNMENTS)
    weight, bias = head_t
    if weight.shape != (logits_s.shape[-1], features_s.shape[-1]):
        raise DataError(
            f"the teacher's head must be (classes, width) = ({logits_s.shape[-1]}, {features_s.shape[-1]}), "
            f"got {tuple(weight.shape)}; project the student's features to the teacher's width first"
        )
    if validate:
        check_finite(logits_s, "logits_s")
        check_finite(features_s, "features_s")
    dtype = computing_dtype(logits_s, features_s)
    if variant == "official_bilevel":
        features_s = features_s.detach()
    bias = None if bias is None else bias.detach().to(dtype)
    logits_t = F.linear(features_s.to(dtype), weight.detach().to(dtype), bias)
    smoothing = 0.0 if variant == "official_sumall" else label_smoothing
    labelled = labels != NO_LABEL
    confidence = logits_t.detach().softmax(-1).gather(1, (labels * labelled)[:, None])[:, 0]
    each = None if class_weights is None else class_weights.to(dtype)
    loss_s, loss_t = (
        F.cross_entropy(z, labels, each, reduction="none", ignore_index=NO_LABEL, label_smoothing=smoothing)
        for z in (logits_s.to(dtype), logits_t)
    )
    return reduced(loss_s - confidence * loss_t, reduction, labelled.sum())


@without_autocast
def bag_proportion_kl(
    logits_s: Tensor,
    group_s: Tensor,
    target_proportions: Tensor,
    *,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
    validate: bool = False,
) -> Tensor:
    r"""Divergence of the student's mean prediction over a bag from the bag's class proportions.

    .. math:: \sum_c q_c \log\frac{q_c + \epsilon}{\bar p_c + \epsilon}, \qquad
        \bar p = \frac{1}{|b|} \sum_{i \in b} \mathrm{softmax}(z_s(i))

    Args:
        logits_s: student logits, ``(n, c)``.
        group_s: ``(n,)`` int64, the bag of each row in [0, g); rows below 0 are in no bag.
        target_proportions: ``(g, c)``, rows sum to 1.
        eps: float > 0, default 1e-6; bounds the loss where the student gives a class no mass.
        reduction: ``mean`` over the bags that hold a row, ``sum``, or ``none`` for one value a bag (0 if
            empty).
        validate: refuse non-finite input, naming the row.
    Returns: nats; 0 when the proportions agree; may go below 0 by less than ``c * eps * log(1 / eps)``.
    Needs: bags.     Gradient: to ``logits_s`` only; it couples the rows of a bag.
    Source: Tsai and Lin, ACML 2020, arXiv 1910.13188, equation of L_prop.
    Deviation: eps also beside the target, so that equal proportions give exactly 0.
    Raises: DataError for shapes that do not fit or a bag number >= g; ConfigError for eps.
    """
    n, (bags, classes) = len(logits_s), target_proportions.shape
    if group_s.shape != (n,) or logits_s.shape[1:] != (classes,):
        raise DataError(
            "logits_s (n, c), group_s (n,) and target_proportions (g, c) do not fit: "
            f"{tuple(logits_s.shape)}, {tuple(group_s.shape)}, {tuple(target_proportions.shape)}"
        )
    check_positive("eps", eps)
    if validate:
        check_finite(logits_s, "logits_s")
        check_finite(target_proportions, "target_proportions")
    if n and int(group_s.max()) >= bags:
        raise DataError(f"group_s names bag {int(group_s.max())}, but target_proportions has {bags} rows")
    logits, target = widened(logits_s, target_proportions.detach())
    member = (group_s[None, :] == torch.arange(bags, device=group_s.device)[:, None]).to(
        logits.dtype
    )  # (g, n)
    size = member.sum(1)
    mean = (member @ logits.softmax(-1)) / size.clamp(min=1)[:, None]
    divergence = (target * ((target + eps).log() - (mean + eps).log())).sum(-1)
    return reduced(divergence.where(size > 0, 0.0), reduction, (size > 0).sum())
