"""Soft labels read in the light of the true one: rows weighed by what the student has learned, targets made surer.

Axis legend: n - rows, c - classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.functional.precision import Reduction, check_choice, check_positive, reduced, widened
from limbeck.functional.response.class_labels import check_labelled


def weighted_soft_labels(
    logits_s: Tensor,
    logits_t: Tensor,
    labels: Tensor,
    *,
    temperature: float = 2.0,
    eps: float = 1e-7,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross entropy under the teacher's prediction, less for rows that the student already knows better (WSLD).

    .. math:: T^2 \big(1 - e^{-\ell_s / (\ell_t + \epsilon)}\big)\, H\big(\mathrm{softmax}(z_t / T),
        \mathrm{softmax}(z_s / T)\big), \qquad \ell = CE(z, y)

    with the weight in brackets detached.

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits or log-probabilities, same shape; finite.
        labels: ``(n,)`` int64 in [0, c).
        temperature: float > 0, default 2; softens both sides of H.      eps: beside the teacher's label loss.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: nats times T^2, >= 0, at equality not 0 but a part of the entropy; float32 or wider. An empty
        batch gives 0.
    Needs: pairing by row; teacher logits; a class for each row.     Gradient: to ``logits_s`` only.
    Source: Zhou et al., ICLR 2021, arXiv 2102.00650, equation 6.  Deviation: none.
    Raises: DataError for shapes and labels; ConfigError for the temperature.
    Example:
        >>> z = torch.zeros(1, 2)
        >>> round(float(weighted_soft_labels(z, z, torch.tensor([0]), temperature=1.0)), 4)  # (1 - 1 / e) log 2
        0.4382
    """
    check_labelled(logits_s, logits_t, labels)
    check_positive("temperature", temperature)
    s, t = widened(logits_s, logits_t.detach())
    ours, theirs = (F.cross_entropy(z, labels, reduction="none") for z in (s.detach(), t))
    share = -torch.expm1(-ours / (theirs + eps))
    soft = (t / temperature).softmax(-1)
    rows = -(soft * F.log_softmax(s / temperature, -1)).sum(-1)
    return reduced(share * rows * temperature**2, reduction)


def enhanced_target(
    logits_s: Tensor,
    logits_t: Tensor,
    labels: Tensor,
    *,
    gamma: float = 1.5,
    temperature: float = 1.0,
    variant: Literal["paper", "official"] = "paper",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross entropy under the teacher's prediction, whose say on the true class is made louder (OFA).

    .. math:: -\big((1 + p_t^y)^\gamma - 1\big) \log p_s^y - \sum_{c \neq y} p_t^c \log p_s^c

    with gamma = 1 the plain cross entropy; the 1 that is taken off stands for the label loss beside it.

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits or log-probabilities, same shape; finite.
        labels: ``(n,)`` int64 in [0, c), the class y.
        gamma: float > 0, default 1.5.      temperature: float > 0, default 1; softens both sides, without T^2.
        variant: ``paper`` as above; ``official``, the authors' code: the power also stands on the other classes,
            :math:`(p_t^c)^\gamma`.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: nats, >= 0, at equality not 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher logits; a class for each row.     Gradient: to ``logits_s`` only.
    Source: Hao et al. (OFA-KD), NeurIPS 2023, arXiv 2310.19444, equation 5.  Deviation: see ``variant``; the
        logarithm is that of a softmax in one piece, so that a sure student gives a number where their code gives inf.
    Raises: DataError for shapes and labels; ConfigError for gamma and the temperature.
    Example:
        >>> z = torch.zeros(1, 2)
        >>> round(float(enhanced_target(z, z, torch.tensor([0]), gamma=1.0)), 4)
        0.6931
    """
    check_labelled(logits_s, logits_t, labels)
    check_positive("gamma", gamma)
    check_positive("temperature", temperature)
    check_choice("variant", variant, ("paper", "official"))
    s, t = (z / temperature for z in widened(logits_s, logits_t.detach()))
    soft = t.softmax(-1)
    own = labels[:, None]
    louder = (1 + soft.gather(1, own)).pow(gamma) - 1
    target = (soft if variant == "paper" else soft.pow(gamma)).scatter(1, own, louder)
    return reduced(-(target * F.log_softmax(s, -1)).sum(-1), reduction)
