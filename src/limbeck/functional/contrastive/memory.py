"""Contrast with every row of a memory: noise contrast by one product, in the memory of its scores.

Axis legend: b - rows, d - width of the common space, k - rows of the memory that are no row's own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.hand_gradients import wants_gradient, with_gradient
from limbeck.functional.precision import check_positive, widened, without_autocast

_BESIDE = 1e-7  # beside each denominator, as in the authors' code of CRD


@without_autocast
def noise_contrast_all(
    x_s: Tensor,
    own: Tensor,
    negatives: Tensor,
    *,
    temperature: float = 0.07,
    mean_exponential: float | Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    r"""One side of CRD where all rows of a memory are negatives: is a row the sample's own, or one of the memory?

    .. math:: \frac1b \sum_i \Big( -\log \frac{q_0}{q_0 + k/n} - \sum_{j=1}^k \log \frac{k/n}{q_j + k/n} \Big), \qquad
        q_j = \frac{\exp(x \cdot m_j / \tau)}{n \bar e}, \quad n = k + 1

    It is :func:`noise_contrast` with ``index`` of all rows, in two buffers of ``(b, k)``.

    Args:
        x_s: features in the common space on the unit sphere, ``(b, d)``.
        own: ``(b, d)``, what the other side said of the same samples.      negatives: ``(k, d)``, of others.
        temperature: tau > 0, default 0.07.
        mean_exponential: e-bar > 0, the mean of the exponentials; default that of this batch, held without gradient.
            The authors take it from the first batch and keep it.
        same: ``(b, k)`` bool, negatives that are no negatives of a row, since they are the same sample.
    Returns: nats, scalar >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; a memory of teacher vectors.     Gradient: to ``x_s`` only, computed in the forward pass; a
        second derivative is refused.
    Source: Tian, Krishnan, Isola, ICLR 2020, arXiv 1910.10699, equations 9 to 19.
    Deviation: all rows of the memory, where the paper draws k of them.
    Raises: DataError for shapes that do not fit; ConfigError for the temperature.
    Example:
        >>> one = torch.eye(2)
        >>> round(float(noise_contrast_all(one[:1], one[:1], one[1:], mean_exponential=0.5)), 2)
        1.1
    """
    if x_s.dim() != 2 or own.shape != x_s.shape or negatives.dim() != 2 or negatives.shape[1] != x_s.shape[1]:
        raise DataError(
            f"x_s and own (b, d) and negatives (k, d) do not fit: {tuple(x_s.shape)}, {tuple(own.shape)}, "
            f"{tuple(negatives.shape)}"
        )
    if same is not None and same.shape != (len(x_s), len(negatives)):
        raise DataError(f"same must be {(len(x_s), len(negatives))}, got {tuple(same.shape)}")
    check_positive("temperature", temperature)
    s, first, others = widened(x_s, own.detach(), negatives.detach())
    b, k = len(s), len(others)
    if b == 0:
        return s.sum() * 0
    x = s.detach()
    scale = 1 / temperature
    nearest, score = (x * first).sum(1) * scale, (x @ others.T).mul_(scale)
    if same is not None:
        score.masked_fill_(same, -math.inf)
    if mean_exponential is None:
        mean_exponential = mean_of_exponentials(nearest, score)
    log_z = torch.as_tensor(mean_exponential, dtype=s.dtype, device=s.device).log() + math.log(k + 1)
    share = max(k, 1) / (k + 1)
    q0 = (nearest - log_z).exp()
    value = -(nearest - log_z - (q0 + share + _BESIDE).log()).sum() - k * b * math.log(share)
    if same is not None:
        value = value + same.sum() * math.log(share)
    q = score.sub_(log_z).exp_()
    beside = q + (share + _BESIDE)
    if same is not None:
        beside.masked_fill_(same, 1.0)
    gradient = None
    if wants_gradient(s):
        slope = q.div_(beside)
        gradient = (slope @ others - (1 - q0 / (q0 + share + _BESIDE))[:, None] * first) * (scale / b)
    value = (value + beside.log_().sum()) / b
    return with_gradient(value, s, gradient, "noise_contrast_all")


def mean_of_exponentials(own: Tensor, others: Tensor) -> Tensor:
    """Mean of the exponentials of scores ``(b,)`` and ``(b, k)``, -inf not counted."""
    counted = own.numel() + (others > -math.inf).sum()
    return torch.cat([own.detach(), others.detach().flatten()]).logsumexp(0).exp() / counted
