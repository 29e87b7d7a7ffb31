"""Relations between the samples of a batch: the student's samples lie to each other as the teacher's do.

Rows are paired; columns need not correspond, so that no projector is needed. All couple the rows of a batch and are
means over it. Axis legend: n - samples, d - student width, e - teacher width; further axes are flattened into them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError, DataError
from limbeck.functional.hand_gradients import nothing_to_compare
from limbeck.functional.precision import (
    check_choice,
    check_positive,
    explained,
    unit_grams,
    unit_rows,
    widened,
    without_autocast,
)


def flat_pair(x_s: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
    """Both as ``(n, d)`` and ``(n, e)`` in their computing type, the teacher's detached."""
    if x_s.dim() < 2 or x_t.dim() < 2 or len(x_s) != len(x_t):
        raise DataError(
            f"features must be paired row by row, (n, ...) and (n, ...), got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}"
        )
    s, t = widened(x_s, x_t.detach())
    return s.flatten(1), t.flatten(1)


@explained
@without_autocast
def rkd_distance(x_s: Tensor, x_t: Tensor) -> Tensor:
    r"""Relative distances between samples agree with the teacher's, by Huber's loss (RKD-D).

    .. math:: \frac1{n^2} \sum_{ij} \ell_1\!\left(\frac{d_s(i, j)}{\mu_s} - \frac{d_t(i, j)}{\mu_t}\right)

    with d Euclidean distances and mu the mean of those above 0; the gradient runs through the student's mean too.

    Args:
        x_s: student features, ``(n, ...)``.      x_t: teacher features, ``(n, ...)``; the widths may differ.
    Returns: scalar >= 0, 0 for clouds that agree up to a motion and a scale; float32 or wider. 0 below two rows.
    Needs: pairing by row; teacher vectors; memory O(n^2).     Gradient: to ``x_s`` only.
    Source: Park et al., CVPR 2019, arXiv 1904.05068, equations 4 to 6.
    Deviation: a mean over all n^2 pairs, as in the authors' code, where the paper sums.
    Raises: DataError if the numbers of rows differ.
    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> float(rkd_distance(x, 2 * x))
        0.0
    """
    s, t = flat_pair(x_s, x_t)
    if len(s) < 2:
        return nothing_to_compare(x_s, s.dtype)
    ours, theirs = (_relative_distances(x) for x in (s, t))
    return F.smooth_l1_loss(ours, theirs)


def _relative_distances(x: Tensor) -> Tensor:
    distance = _distances(x)
    count = (distance > 0).sum().clamp(min=1)
    mean = distance.sum() / count
    return distance / torch.where(mean > 0, mean, 1.0)


def _distances(x: Tensor) -> Tensor:
    """``(n, n)`` Euclidean, 0 (and without a slope) where rounding cannot tell two rows apart."""
    x = x - x.detach().mean(0)  # distances do not see the mean; far from the origin they lose their digits
    gram = x @ x.T
    own = gram.diagonal()
    squared = own[:, None] + own[None, :] - 2 * gram
    apart = squared.detach() > 16 * torch.finfo(x.dtype).eps * own.detach().max()
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


@explained
@without_autocast
def similarity_preserving(x_s: Tensor, x_t: Tensor, *, norm: Literal["l2", "l1"] = "l2") -> Tensor:
    r"""Rows of the batch's similarity matrix agree with the teacher's (SP).

    .. math:: \frac1{n^2} \|\hat G_s - \hat G_t\|_F^2, \qquad G = X X^T, \quad \hat G_i = G_i / \|G_i\|

    Args:
        x_s: student features, ``(n, ...)``.      x_t: teacher features, ``(n, ...)``; the widths may differ.
        norm: of the rows of G: ``l2`` (the paper), or ``l1``, as one library has it.
    Returns: scalar >= 0, 0 for clouds that agree up to a rotation and a scale; float32 or wider. 0 for no row.
    Needs: pairing by row; teacher vectors; memory O(n^2).     Gradient: to ``x_s`` only.
    Source: Tung and Mori, ICCV 2019, arXiv 1907.09682, equations 1 to 4.  Deviation: see ``norm``.
    Raises: DataError if the numbers of rows differ; UnknownNameError for ``norm``.
    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        >>> float(similarity_preserving(x, x))
        0.0
    """
    check_choice("norm", norm, ("l2", "l1"))
    s, t = flat_pair(x_s, x_t)
    if not len(s):
        return nothing_to_compare(x_s, s.dtype)
    ours, theirs = (_similarity_rows(x, norm) for x in (s, t))
    return (ours - theirs).square().mean()


def _similarity_rows(x: Tensor, norm: str) -> Tensor:
    if norm == "l2":
        return unit_grams(x)
    largest = x.detach().abs().max()  # the rows are blind to scale, and products of large features overflow
    x = x / torch.where(largest > 0, largest, 1.0)
    similarity = x @ x.T
    length = similarity.abs().sum(1, keepdim=True)
    return similarity / torch.where(length > 0, length, 1.0)


@explained
@without_autocast
def correlation_congruence(
    x_s: Tensor,
    x_t: Tensor,
    *,
    kernel: Literal["rbf", "bilinear", "consecutive"] = "rbf",
    gamma: float = 0.4,
    order: int = 2,
) -> Tensor:
    r"""Correlations between the samples of a batch, seen by a kernel, agree with the teacher's (CC).

    .. math:: \frac1{n^2} \|C_s - C_t\|_F^2, \qquad
        C_{ij} = \sum_{p=0}^{P} e^{-2\gamma} \frac{(2\gamma)^p}{p!} (\hat x_i \cdot \hat x_j)^p

    with rows on the unit sphere: the Taylor series of :math:`e^{-\gamma |\hat x_i - \hat x_j|^2}`.

    Args:
        x_s: student features, ``(n, ...)``.      x_t: teacher features, ``(n, ...)``; the widths may differ.
        kernel: ``rbf`` as above; ``bilinear``: plain inner products of the rows as they are; ``consecutive``: what a
            known library calls by this name, no kernel between samples: the mean over neighbours in the batch of
            :math:`|x_s - x_t|_i \cdot |x_s - x_t|_{i+1}`, for which the widths must agree.
        gamma: float > 0, default 0.4.      order: P >= 1, default 2.
    Returns: scalar >= 0, 0 where the correlations agree; float32 or wider. 0 for no row.
    Needs: pairing by row; teacher vectors; memory O(n^2).     Gradient: to ``x_s`` only.
    Source: Peng et al., ICCV 2019, arXiv 1904.01802, section 3.3.  Deviation: see ``kernel``.
    Raises: DataError for shapes that do not fit; UnknownNameError for the kernel; ConfigError for gamma and order.
    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        >>> float(correlation_congruence(x, x))
        0.0
    """
    check_choice("kernel", kernel, ("rbf", "bilinear", "consecutive"))
    check_positive("gamma", gamma)
    if order < 1:
        raise ConfigError(f"order must be at least 1, got {order}")
    s, t = flat_pair(x_s, x_t)
    if len(s) < (2 if kernel == "consecutive" else 1):
        return nothing_to_compare(x_s, s.dtype)
    if kernel == "consecutive":
        if s.shape != t.shape:
            raise DataError(f"'consecutive' needs one width, got {s.shape[1]} and {t.shape[1]}")
        gap = (s - t).abs()
        return (gap[:-1] * gap[1:]).sum(1).mean()
    if kernel == "bilinear":
        return (s @ s.T - t @ t.T).square().mean()
    ours, theirs = (_taylor(unit_rows(x), gamma, order) for x in (s, t))
    return (ours - theirs).square().mean()


def _taylor(x: Tensor, gamma: float, order: int) -> Tensor:
    product = x @ x.T
    terms = [(2 * gamma) ** p / math.factorial(p) * product**p for p in range(1, order + 1)]
    return math.exp(-2 * gamma) * (1 + torch.stack(terms).sum(0))


@explained
@without_autocast
def pkt(x_s: Tensor, x_t: Tensor, *, variant: Literal["paper", "official"] = "paper") -> Tensor:
    r"""Who is near whom, as a distribution: divergence of the student's from the teacher's (PKT).

    .. math:: \frac1n \sum_i \sum_{j \neq i} t_{j|i} \log \frac{t_{j|i}}{s_{j|i}}, \qquad
        s_{j|i} = \frac{k(x_i, x_j)}{\sum_{l \neq i} k(x_i, x_l)}, \quad k(a, b) = \tfrac12 (\cos(a, b) + 1)

    Args:
        x_s: student features, ``(n, ...)``.      x_t: teacher features, ``(n, ...)``; the widths may differ.
        variant: ``paper`` as above; ``official``, the authors' code: each row is its own neighbour too, and the mean is
            over all n^2 pairs, which makes the value smaller by n.
    Returns: nats, scalar >= 0 up to rounding; float32 or wider. 0 where there is no second row.
    Needs: pairing by row; teacher vectors; memory O(n^2).     Gradient: to ``x_s`` only.
    Source: Passalis and Tefas, ECCV 2018, arXiv 1803.10837, equations 3 to 6.
    Deviation: the paper sums over rows; see ``variant``. Similarities below 1e-7 count as that.
    Raises: DataError if the numbers of rows differ; UnknownNameError for the variant.
    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
        >>> float(pkt(x, x))
        0.0
    """
    check_choice("variant", variant, ("paper", "official"))
    s, t = flat_pair(x_s, x_t)
    n = len(s)
    if n < 2:
        return nothing_to_compare(x_s, s.dtype)
    q, p = (_neighbour_shares(x, itself=variant == "official") for x in (s, t))
    total = (p * (p.clamp(min=1e-7) / q.clamp(min=1e-7)).log()).sum()
    return total / (n if variant == "paper" else n * n)


def _neighbour_shares(x: Tensor, *, itself: bool) -> Tensor:
    unit = unit_rows(x)
    near = (unit @ unit.T + 1).clamp(min=2e-7) / 2
    if not itself:
        near = near * (1 - torch.eye(len(x), dtype=x.dtype, device=x.device))
    return near / near.sum(1, keepdim=True)
