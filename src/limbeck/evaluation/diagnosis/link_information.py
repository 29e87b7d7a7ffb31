"""How much of the class comes through a link: from a few rows whose class and teacher row are both known.

Axis legend: n linked rows, m of them with a known class, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST = 10  # labelled linked rows, below which nothing is said
MOST_ROWS = 2048  # over which psi is averaged
_LAMBDAS = torch.linspace(0, 1, 41, dtype=torch.float64)
_SHARPNESS = (0.25, 0.5, 1.0, 2.0)
_DROP = 1.92  # half the 95% quantile of chi-squared with one degree of freedom
MODEL_ERROR = 0.03  # by which the interval is widened: the channel is a model


@dataclass(frozen=True)
class LinkInformation:
    """What reaches the student's rows.

    Args:
        psi: share of the class information that comes through, in [0, 1].    low, high: its 95% interval.
        noise: share of rows whose teacher row says nothing of them.    noise_low, noise_high: its interval.
        sharpness: power to which the teacher's probabilities are taken.
        accuracy: share of the m rows whose teacher row ranks their class first.    n: m.
    """

    psi: float
    low: float
    high: float
    noise: float
    noise_low: float
    noise_high: float
    sharpness: float
    accuracy: float
    n: int


def link_information(log_probs: Tensor, log_probs_m: Tensor, classes: Tensor) -> LinkInformation | None:
    r"""The link as a noisy channel, fitted by maximum likelihood.

    .. math:: p(y \mid s) = (1 - \lambda)\,\mathrm{softmax}(a s)_y + \lambda / C, \qquad
        \psi = \frac1n \sum_i \frac{KL(p(\cdot \mid s_i) \,\|\, u)}{\ln C}

    The interval holds the lambdas whose profile likelihood is within 1.92 of the best, and is widened by 0.03.

    Args:
        log_probs: ``(n, C)`` of the teacher row (of a bag: log of its mean probabilities) of every linked row.
        log_probs_m: ``(m, C)`` of the rows with a known class.    classes: ``(m,)`` int64.

    Returns: None for fewer than 10 rows with a class, or without linked rows.
    """
    m, n_classes = len(classes), log_probs.shape[-1]
    if m < FEWEST or not len(log_probs):
        return None
    step = max(1, -(-len(log_probs) // MOST_ROWS))
    rows, known = log_probs[::step].double(), log_probs_m.double()
    likelihood, share = [], []
    for a in _SHARPNESS:
        true = (a * known).softmax(1).gather(1, classes[:, None])[:, 0]
        likelihood.append(_channel(true, n_classes).log().sum(1))
        share.append(
            torch.stack([_information(_channel((a * rows).softmax(1), n_classes, i)) for i in range(41)])
        )
    table, psi = torch.stack(likelihood), torch.stack(share)  # (4, 41) each
    profile, at = table.max(0)
    psi = psi[at, torch.arange(41)]
    best = int(profile.argmax())
    inside = profile >= profile[best] - _DROP
    return LinkInformation(
        psi=float(psi[best]),
        low=max(0.0, float(psi[inside].min()) - MODEL_ERROR),
        high=min(1.0, float(psi[inside].max()) + MODEL_ERROR),
        noise=float(_LAMBDAS[best]),
        noise_low=float(_LAMBDAS[inside].min()),
        noise_high=float(_LAMBDAS[inside].max()),
        sharpness=_SHARPNESS[int(at[best])],
        accuracy=float((known.argmax(1) == classes).double().mean()),
        n=m,
    )


def information(probabilities: Tensor) -> float:
    """psi of a link without noise: mean divergence of ``probabilities (n, C)`` from uniform, over ln C, in [0, 1]."""
    return float(_information(probabilities.double())) if len(probabilities) else 0.0


def channel_information(accuracy: float, n_classes: int) -> float:
    """psi of a channel that is right in ``accuracy`` of the rows and errs evenly; 0 at chance or below."""
    if accuracy <= 1 / n_classes:
        return 0.0
    if accuracy >= 1:
        return 1.0
    entropy = -accuracy * math.log(accuracy) - (1 - accuracy) * math.log(1 - accuracy)
    return max(0.0, 1 - (entropy + (1 - accuracy) * math.log(n_classes - 1)) / math.log(n_classes))


def accuracy_through_link(agreement: float, student: float, n_classes: int) -> float | None:
    """How often the teacher row of a student row is right, without any label on linked rows.

    .. math:: (A - w) / (a_s - w), \\qquad w = (1 - a_s) / (C - 1)

    with A the share of linked rows where student and teacher agree, whose errors are taken to be independent.

    Returns: in [0, 1]; None where the student is too near chance to be a judge.
    """
    w = (1 - student) / (n_classes - 1)
    if student - w < 0.3:
        return None
    return min(1.0, max(0.0, (agreement - w) / (student - w)))


def _channel(probabilities: Tensor, n_classes: int, at: int | None = None) -> Tensor:
    """Mixed with uniform: ``(m,)`` at all lambdas ``(41, m)``, or ``(n, C)`` at one."""
    noise = _LAMBDAS.unsqueeze(1) if at is None else _LAMBDAS[at]
    return ((1 - noise) * probabilities + noise / n_classes).clamp(min=1e-12)


def _information(p: Tensor) -> Tensor:
    return 1 + torch.xlogy(p, p).sum(1).mean() / math.log(p.shape[1])
