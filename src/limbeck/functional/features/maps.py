"""Losses between the student's and the teacher's maps of the same sample: where they are active, and how.

A map is ``(n, channels, positions...)``. Axis legend: n - rows, c - channels, p - positions of a map, flattened.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    check_positive,
    euclidean_length,
    reduced,
    unit_rows,
    widened,
    without_autocast,
)
from limbeck.functional.squares import squared_lengths


def _maps(x_s: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
    """Both ``(n, c, p)`` in their computing type, the teacher's detached."""
    if x_s.dim() < 3 or x_t.dim() < 3 or len(x_s) != len(x_t) or x_s.shape[2:] != x_t.shape[2:]:
        raise DataError(
            f"maps must be (n, channels, positions...) over the same positions, got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}; pool the larger one to the smaller's positions first"
        )
    s, t = widened(x_s, x_t.detach())
    return s.flatten(2), t.flatten(2)


def attention_transfer(
    x_s: Tensor,
    x_t: Tensor,
    *,
    power: float = 2.0,
    variant: Literal["paper", "official"] = "paper",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The student is active where the teacher is (AT).

    .. math:: \left\| \frac{a_s}{\|a_s\|} - \frac{a_t}{\|a_t\|} \right\|, \qquad a = \sum_c |x_c|^\rho

    Args:
        x_s: student maps, ``(n, c, ...)``.      x_t: teacher maps, ``(n, c', ...)`` over the same positions.
        power: rho > 0, default 2.
        variant: ``paper``: the distance; ``official``, the authors' code: its square, over the number of positions.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: in [0, 2] (``official``: [0, 4 / p]), 0 for maps in proportion; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher maps over the same positions.
    Gradient: to ``x_s`` only; at distance 0 the subgradient 0.
    Source: Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928, equation 2.
    Deviation: without the factor beta / 2, which is the weight of the term; see ``variant``.
    Raises: DataError for shapes; ConfigError for the power; UnknownNameError for the variant.
    Example:
        >>> x = torch.tensor([[[1.0, 2.0]]])
        >>> round(float(attention_transfer(x, 3 * x)), 6)
        0.0
    """
    check_positive("power", power)
    check_choice("variant", variant, ("paper", "official"))
    s, t = _maps(x_s, x_t)
    ours, theirs = (
        unit_rows(squared_lengths(x) if power == 2 else x.abs().pow(power).mean(1)) for x in (s, t)
    )
    if variant == "official":
        return reduced((ours - theirs).square().mean(1), reduction)
    return reduced(euclidean_length(ours - theirs), reduction)


@without_autocast
def neuron_selectivity(x_s: Tensor, x_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Channels of both sides select the same positions: a discrepancy of their patterns, whatever their number (NST).

    .. math:: \overline{k(\hat t, \hat t')} + \overline{k(\hat s, \hat s')} - 2\, \overline{k(\hat s, \hat t)},
        \qquad k(a, b) = (a \cdot b)^2

    with each channel's pattern over positions on the unit sphere, and means over all pairs of channels of a row.

    Args:
        x_s: student maps, ``(n, c, ...)``.      x_t: teacher maps, ``(n, c', ...)`` over the same positions.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: >= 0 up to rounding, 0 for equal sets of patterns; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher maps over the same positions.     Gradient: to ``x_s`` only.
    Source: Huang and Wang, arXiv 1707.01219, equation 4 with the polynomial kernel of degree 2 and offset 0.
    Deviation: none.
    Raises: DataError for shapes.
    Example:
        >>> x = torch.tensor([[[1.0, 2.0], [2.0, 0.0]]])
        >>> round(float(neuron_selectivity(x, x.flip(1))), 6)
        0.0
    """
    s, t = (unit_rows(x) for x in _maps(x_s, x_t))
    # the mean of squared products is the squared difference of second moments over positions
    if s.shape[2] <= max(s.shape[1], t.shape[1]):
        gap = s.mT @ s / s.shape[1] - t.mT @ t / t.shape[1]
        return reduced(gap.square().sum((1, 2)), reduction)
    ours, theirs, both = (
        (a @ b.mT).square().flatten(1).mean(1) if len(a) else a.flatten(1).sum(1)
        for a, b in ((s, s), (t, t), (s, t))
    )
    return reduced(ours + theirs - 2 * both, reduction)


def variational_nll(
    mean: Tensor, x_t: Tensor, raw_variance: Tensor, *, eps: float = 1e-5, reduction: Reduction = "mean"
) -> Tensor:
    r"""Surprise of the teacher's features under a normal law around the student's guess (VID).

    .. math:: \tfrac12 \left( \frac{(\mu - x_t)^2}{v_c} + \log v_c \right), \qquad v_c = \log(1 + e^{r_c}) + \epsilon

    Args:
        mean: mu, the teacher's features as a regressor guesses them from the student's, ``(n, c, ...)``.
        x_t: teacher features, same shape.      raw_variance: r, ``(c,)``, trained with the regressor.
        eps: float > 0, default 1e-5: the least variance.
        reduction: ``mean`` over all elements (also over the width), ``sum``, or ``none`` for each element.
    Returns: nats, may be negative; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher features.     Gradient: to ``mean`` and ``raw_variance``.
    Source: Ahn et al., CVPR 2019, arXiv 1904.05835, equations 5 and 6.
    Deviation: without the constant log(2 pi) / 2; the mean over elements, as in the authors' code.
    Raises: DataError for shapes; ConfigError for eps.
    Example:
        >>> round(float(variational_nll(torch.ones(2, 3), torch.zeros(2, 3), torch.full((3,), 0.5413))), 3)
        0.5
    """
    check_positive("eps", eps)
    if mean.shape != x_t.shape or raw_variance.shape != mean.shape[1:2]:
        raise DataError(
            f"mean and x_t must have one shape (n, c, ...) and raw_variance (c,), got {tuple(mean.shape)}, "
            f"{tuple(x_t.shape)} and {tuple(raw_variance.shape)}"
        )
    mu, t, raw = widened(mean, x_t.detach(), raw_variance)
    variance = (F.softplus(raw) + eps).reshape(-1, *[1] * (mu.dim() - 2))
    return reduced(((mu - t).square() / variance + variance.log()) / 2, reduction)


def many_to_one(expanded: Tensor, x_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Every one of N groups of expanded student features reproduces the teacher's.

    .. math:: \frac{1}{D} \sum_{k=1}^N \|e_k - x_t\|^2, \qquad e = W x_s \in \mathbb{R}^{N \times D}

    Args:
        expanded: student features expanded to N times the teacher's width, ``(n, N * e)``, group after group.
        x_t: teacher features, ``(n, e)``.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: squared feature units, >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher features.     Gradient: to ``expanded`` only.
    Source: the N-to-one matching of NORM (Liu et al., ICLR 2023, arXiv 2305.13803) on pooled features, as the
        comparison of UCMKD (arXiv 2606.10504) runs it.
    Deviation: the paper matches maps behind a residual block of convolutions that contracts them again.
    Raises: DataError for a width that is no multiple of the teacher's.
    Example:
        >>> float(many_to_one(torch.zeros(1, 4), torch.ones(1, 2)))
        2.0
    """
    if expanded.dim() != 2 or x_t.dim() != 2 or len(expanded) != len(x_t) or expanded.shape[1] % x_t.shape[1]:
        raise DataError(
            f"expanded must be (n, N * e) for teacher features (n, e), got {tuple(expanded.shape)} and "
            f"{tuple(x_t.shape)}"
        )
    s, t = widened(expanded, x_t.detach())
    groups = s.reshape(len(s), s.shape[1] // t.shape[1], t.shape[1])
    return reduced((groups - t[:, None]).square().mean(2).sum(1), reduction)
