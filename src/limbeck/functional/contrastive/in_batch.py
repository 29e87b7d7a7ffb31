"""Contrast: the student's sample is nearer to its own teacher's sample than to others.

Axis legend: n - samples, d - width of the common space, k - negatives.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_positive,
    is_ordinary,
    reduced,
    unit_rows,
    widened,
    without_autocast,
)


@without_autocast
def info_nce(
    x_s: Tensor,
    x_t: Tensor,
    *,
    temperature: float = 0.07,
    symmetric: bool = False,
    same: Tensor | None = None,
    queue: Tensor | None = None,
    same_in_queue: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Which of the batch's teacher rows is the student's own, as a classification (InfoNCE).

    .. math:: -\log \frac{\exp(\cos(s_i, t_i) / \tau)}{\sum_j \exp(\cos(s_i, t_j) / \tau)}

    Args:
        x_s: student features in the common space, ``(n, d)``.      x_t: teacher features, same shape.
        temperature: tau > 0, default 0.07.
        symmetric: also which student row of the batch is the teacher's own, and the mean of both (as CLIP), default
            False.
        same: ``(n,)`` int64, rows of one number are no negatives of each other (one teacher row that several student
            rows share, one class); default: all differ.
        queue: ``(q, d)``, teacher rows of earlier batches, which are negatives of every student row.
        same_in_queue: ``(n, q)`` bool, rows of the queue that are no negatives of a row.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: nats, >= 0, log n where nothing is told apart; float32 or wider. 0 for one row.
    Needs: pairing by row; teacher vectors.     Gradient: to ``x_s`` only; it couples the rows of a batch.
    Source: van den Oord et al., arXiv 1807.03748, equation 4.  Deviation: cosine in place of a bilinear score.
    Raises: DataError for different shapes; ConfigError for the temperature.
    Example:
        >>> round(float(info_nce(torch.zeros(2, 3), torch.ones(2, 3))), 4)
        0.6931
    """
    if x_s.dim() != 2 or x_s.shape != x_t.shape:
        raise DataError(
            f"features must be (n, d) in one space, got {tuple(x_s.shape)} and {tuple(x_t.shape)}; project the "
            "student's first"
        )
    check_positive("temperature", temperature)
    n = len(x_s)
    if same is not None and same.shape != (n,):
        raise DataError(f"same must be ({n},), got {tuple(same.shape)}")
    if queue is not None and (queue.dim() != 2 or queue.shape[1] != x_s.shape[1]):
        raise DataError(f"queue must be (q, {x_s.shape[1]}), got {tuple(queue.shape)}")
    s, t = widened(x_s, x_t.detach())
    score = _cosines(s, t, temperature)
    own = torch.arange(n, device=score.device)
    if same is not None:
        no_negative = (same[:, None] == same[None, :]) & (own[:, None] != own[None, :])
        score = score.masked_fill(no_negative, -torch.inf)
    wide = score
    if queue is not None:
        earlier = _cosines(s, queue.detach().to(s.dtype), temperature)
        if same_in_queue is not None:
            earlier = earlier.masked_fill(same_in_queue, -torch.inf)
        wide = torch.cat([score, earlier], 1)
    rows = F.cross_entropy(wide, own, reduction="none")
    if symmetric:
        rows = (rows + F.cross_entropy(score.T, own, reduction="none")) / 2
    return reduced(rows, reduction)


def _cosines(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """``(n, m)``, over the temperature."""
    if a.device.type == "cpu":  # lengths divide the products, which are fewer than the features
        length_a, length_b = (torch.linalg.vector_norm(x, dim=1) for x in (a, b))
        if is_ordinary(length_a) and is_ordinary(length_b):
            return a @ b.T / (length_a[:, None] * (temperature * length_b)[None, :])
    return unit_rows(a) @ unit_rows(b).T / temperature


@without_autocast
def noise_contrast(
    x_s: Tensor,
    memory: Tensor,
    index: Tensor,
    *,
    temperature: float = 0.07,
    normaliser: float | Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""One side of CRD: is a row of a memory the sample's own, or one of k drawn at random?

    .. math:: -\log \frac{q_0}{q_0 + k/n} - \sum_{j=1}^k \log \frac{k/n}{q_j + k/n}, \qquad
        q_j = \frac{\exp(x \cdot m_j / \tau)}{Z}

    CRD adds the same with the sides exchanged.

    Args:
        x_s: features in the common space on the unit sphere, ``(b, d)``.
        memory: ``(n, d)``, what the other side said of all n samples; takes no gradient.
        index: ``(b, 1 + k)`` int64 rows of it: the own one first, then the negatives.
        temperature: tau > 0, default 0.07.
        normaliser: Z > 0; default n times the mean of this batch's exponentials, held without gradient. The authors
            take it from the first batch and keep it.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: nats, >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; a memory of teacher vectors.     Gradient: to ``x_s`` only.
    Source: Tian, Krishnan, Isola, ICLR 2020, arXiv 1910.10699, equations 9 to 19, with the authors' 1e-7 beside each
        denominator.  Deviation: none.
    Raises: DataError for shapes that do not fit; ConfigError for the temperature.
    Example:
        >>> one = torch.eye(2)
        >>> round(float(noise_contrast(one[:1], one, torch.tensor([[0, 1]]), normaliser=1.0)), 2)
        1.1
    """
    if x_s.dim() != 2 or memory.shape[1:] != x_s.shape[1:] or index.dim() != 2 or len(index) != len(x_s):
        raise DataError(
            f"x_s (b, d), memory (n, d) and index (b, 1 + k) do not fit: {tuple(x_s.shape)}, "
            f"{tuple(memory.shape)}, {tuple(index.shape)}"
        )
    check_positive("temperature", temperature)
    s, m = widened(x_s, memory.detach())
    score = (m[index] @ s[:, :, None])[:, :, 0] / temperature  # (b, 1 + k)
    n, k = len(m), index.shape[1] - 1
    log_z = score.detach().logsumexp((0, 1)) - math.log(max(score.numel(), 1)) + math.log(n)
    if normaliser is not None:
        log_z = torch.as_tensor(normaliser, dtype=s.dtype, device=s.device).log()
    q, noise = (score - log_z).exp(), k / n
    own = score[:, 0] - log_z - (q[:, 0] + noise + 1e-7).log()
    others = math.log(noise) - (q[:, 1:] + noise + 1e-7).log()
    return reduced(-(own + others.sum(1)), reduction)
