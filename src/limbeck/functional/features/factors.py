"""Losses on features of which only the direction counts, or only the larger part: factors and margins.

Axis legend: n - rows, c - channels, p - positions of a map.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.precision import Reduction, check_choice, reduced, unit_rows, widened


def normalised_gap(
    x_s: Tensor,
    x_t: Tensor,
    *,
    p: float = 1.0,
    q: float = 2.0,
    variant: Literal["paper", "torchdistill"] = "paper",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Distance of a row's features from the teacher's, both at length 1 (factor transfer, knowledge adaptation).

    .. math:: \left\| \frac{x_s}{\|x_s\|_q} - \frac{x_t}{\|x_t\|_q} \right\|_p

    Args:
        x_s: student features or factors, ``(n, ...)``, after its translator.    x_t: the teacher's, same shape, after
            its paraphraser.
        p: of the distance, >= 1, default 1.    q: of the length, >= 1, default 2.
        variant: ``paper`` as above; ``torchdistill``: with p = 1 the mean over the elements of a row in place of their
            sum.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: >= 0, 0 for features in proportion; float32 or wider. A zero row stays zero. An empty batch gives 0.
    Needs: pairing by row; teacher features.     Gradient: to ``x_s`` only; at distance 0 the subgradient 0.
    Source: Kim et al., NeurIPS 2018, arXiv 1802.04977, equation 3 (q = 2); He et al., CVPR 2019, arXiv 1903.04688.
    Deviation: see ``variant``.
    Raises: DataError for different shapes; ConfigError for p and q; UnknownNameError for the variant.
    Example:
        >>> float(normalised_gap(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])))
        2.0
    """
    check_choice("variant", variant, ("paper", "torchdistill"))
    if p < 1 or q < 1:
        raise ConfigError(f"p and q must be at least 1, got {p} and {q}")
    if x_s.shape != x_t.shape or x_s.dim() < 2:
        raise DataError(
            f"student and teacher features must have one shape (n, ...), got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}; send the student's through a translator to the teacher's"
        )
    s, t = (_at_length_one(x.flatten(1), q) for x in widened(x_s, x_t.detach()))
    gap = s - t
    rows = gap.abs().sum(1) if p == 1 else torch.linalg.vector_norm(gap, ord=p, dim=1)
    if variant == "torchdistill" and p == 1:
        rows = rows / max(s.shape[1], 1)
    return reduced(rows, reduction)


def _at_length_one(x: Tensor, q: float) -> Tensor:
    if q == 2:
        return unit_rows(x)
    largest = x.detach().abs().amax(1, keepdim=True)
    x = x / torch.where(largest > 0, largest, 1.0)  # powers of large numbers overflow
    length = torch.linalg.vector_norm(x, ord=q, dim=1, keepdim=True)
    return x / torch.where(length > 0, length, 1.0)


def partial_squares(x_s: Tensor, x_t: Tensor, margin: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Squared difference of features before their ReLU, where it says something (margin ReLU and partial L2, OFD).

    .. math:: \sum_{c, p} \begin{cases} 0 & x_s \le \hat t \le 0 \\ (x_s - \hat t)^2 & \text{else} \end{cases},
        \qquad \hat t = \max(x_t, m_c)

    How far below 0 a response lies that the ReLU drops anyway is not to be learned.

    Args:
        x_s: student features before the ReLU, ``(n, c, ...)``, after the regressor.
        x_t: teacher features before the ReLU, same shape.
        margin: m, ``(c,)``, below 0; see :func:`margin_of_normal`.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row; always a sum over channels and
            positions.
    Returns: squared feature units, >= 0, 0 at equality; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher features before an activation.     Gradient: to ``x_s`` only.
    Source: Heo et al., ICCV 2019, arXiv 1904.01866, equations 1 and 4.
    Deviation: none; the authors' code divides by 1000, which is the weight of the term.
    Raises: DataError for shapes.
    Example:
        >>> s, t = torch.tensor([[1.0, -5.0]]), torch.tensor([[3.0, -1.0]])
        >>> float(partial_squares(s, t, torch.tensor([-2.0, -2.0])))
        4.0
    """
    if x_s.shape != x_t.shape or x_s.dim() < 2 or margin.shape != x_s.shape[1:2]:
        raise DataError(
            f"features must have one shape (n, c, ...) and the margin (c,), got {tuple(x_s.shape)}, "
            f"{tuple(x_t.shape)} and {tuple(margin.shape)}"
        )
    s, t, m = widened(x_s, x_t.detach(), margin.detach())
    target = torch.maximum(t, m.reshape(-1, *[1] * (s.dim() - 2)))
    gap = (s - target).square().where((s > target) | (target > 0), 0.0)
    return reduced(gap.flatten(1).sum(1), reduction)


def margin_of_normal(mean: Tensor, deviation: Tensor) -> Tensor:
    r"""What a normal response is on average where it lies below 0: the margin of a margin ReLU.

    .. math:: E[x \,|\, x < 0] = \mu - \sigma \frac{\varphi(\mu / \sigma)}{\Phi(-\mu / \sigma)}

    Args:
        mean: mu of each channel, ``(c,)``, the bias of the batch normalisation before the ReLU.
        deviation: sigma, same shape, the size of its weight (its sign does not matter).
    Returns: ``(c,)``, below 0; :math:`-3 \sigma` where a channel is below 0 in less than one case of a thousand.
    Source: Heo et al., ICCV 2019, arXiv 1904.01866, equation 3.  Deviation: the limit at a thousandth is that of the
        authors' code.
    Example:
        >>> round(float(margin_of_normal(torch.tensor([0.0]), torch.tensor([1.0]))), 4)
        -0.7979
    """
    mu, sigma = widened(mean.detach(), deviation.detach().abs())
    z = mu / torch.where(sigma > 0, sigma, 1.0)
    below = torch.special.ndtr(-z)
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    expected = mu - sigma * density / below.clamp(min=1e-30)
    return torch.where(below > 1e-3, expected, -3 * sigma)
