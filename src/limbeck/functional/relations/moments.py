"""Discrepancies that compare means, covariances and higher moments of two clouds.

They cost O((n + m) d^2) at most and see nothing beyond their moments. Axis legend: n - student rows, m - teacher rows,
d - features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.costs import check_clouds
from limbeck.functional.hand_gradients import nothing_to_compare
from limbeck.functional.precision import (
    check_finite,
    check_positive,
    euclidean_length,
    explained,
    has_finite_sum,
    widened,
    without_autocast,
)
from limbeck.functional.relations.spectra import nuclear_norm


def _clouds(x_s: Tensor, x_t: Tensor, *, validate: bool) -> tuple[Tensor, ...]:
    check_clouds(x_s, x_t)
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    return widened(x_s, x_t.detach())


def _deviations(x: Tensor) -> Tensor:
    """Rows whose Gram matrix is the unbiased covariance (0 for a single row)."""
    return (x - x.mean(0)) / max(len(x) - 1, 1) ** 0.5


@explained
@without_autocast
def coral(x_s: Tensor, x_t: Tensor, *, validate: bool = False) -> Tensor:
    r"""Squared difference of the covariances of two clouds.

    .. math:: \frac{1}{4 d^2} \| C_s - C_t \|_F^2

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``; n and m may differ.
        validate: refuse non-finite input, naming the row.
    Returns: scalar >= 0, feature units to the fourth power; float32 or wider. 0 for an empty batch.
    Needs: pairing none; teacher vectors; memory O(d^2).     Gradient: to ``x_s`` only; blind to the means.
    Source: Sun and Saenko, Deep CORAL, 2016, arXiv 1607.01719, equation 1 (covariances by n - 1).
    Raises: DataError for shapes that do not fit.     Limits: a single row has covariance 0.
    """
    s, t = _clouds(x_s, x_t, validate=validate)
    if not len(s) or not len(t):
        return nothing_to_compare(x_s, s.dtype)
    s, t = _deviations(s), _deviations(t)
    return (s.T @ s - t.T @ t).square().sum() / (4 * max(s.shape[1], 1) ** 2)


@explained
@without_autocast
def mean_cov_bures(x_s: Tensor, x_t: Tensor, *, squared: bool = True, validate: bool = False) -> Tensor:
    r"""Wasserstein-2 distance between the Gaussians that have the means and covariances of the two clouds.

    .. math:: |m_s - m_t|^2 + \mathrm{tr}\, C_s + \mathrm{tr}\, C_t
        - 2\, \mathrm{tr} \big(C_t^{1/2} C_s C_t^{1/2}\big)^{1/2}

    The last trace is the nuclear norm of (deviations of the student) times C_t^(1/2), so no root of a student matrix
    is taken and the gradient stays finite where n <= d.

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``; n and m may differ.
        squared: the square (default), or the distance itself, whose gradient at 0 is taken as 0.
        validate: refuse non-finite input, naming the row.
    Returns: scalar, squared feature units (or feature units); float32 or wider; equal clouds give 0 up to rounding,
        about 1e-6 of the traces. 0 for an empty batch.
    Needs: pairing none; teacher vectors; an SVD of ``(n, min(m, d))``.     Gradient: to ``x_s`` only.
    Source: Dowson and Landau, JMVA 12, 1982; Takatsu, Osaka J. Math. 48, 2011.  Deviation: none.
    Raises: DataError for shapes that do not fit.     Limits: a single row has covariance 0.
    """
    s, t = _clouds(x_s, x_t, validate=validate)
    if not len(s) or not len(t):
        return nothing_to_compare(x_s, s.dtype)
    gap = (s.mean(0) - t.mean(0)).square().sum()
    s, t = _deviations(s), _deviations(t)
    if len(t) > t.shape[1]:
        t = _root(t.T @ t)
    value = gap + s.square().sum() + t.square().sum() - 2 * nuclear_norm(s @ t.T, "mean_cov_bures")
    return value if squared else _root_of(value)


@explained
@without_autocast
def bures_wasserstein(
    mean_s: Tensor, cov_s: Tensor, mean_t: Tensor, cov_t: Tensor, *, squared: bool = True
) -> Tensor:
    r"""As :func:`mean_cov_bures`, from the moments themselves.

    Args:
        mean_s, mean_t: ``(d,)``.      cov_s, cov_t: ``(d, d)``, symmetric, positive semi-definite.
        squared: the square (default), or the distance itself.
    Returns: scalar, squared feature units (or feature units); float32 or wider.
    Gradient: to ``mean_s`` and ``cov_s`` (its symmetric part); directions without variance take none.
    Source: Dowson and Landau, JMVA 12, 1982.  Deviation: none.
    Raises: DataError for shapes that do not fit.
    """
    d = len(mean_s)
    if mean_t.shape != (d,) or cov_s.shape != (d, d) or cov_t.shape != (d, d):
        raise DataError(
            f"moments must be (d,) and (d, d), got {tuple(mean_s.shape)}, {tuple(cov_s.shape)}, "
            f"{tuple(mean_t.shape)}, {tuple(cov_t.shape)}"
        )
    m_s, c_s, m_t, c_t = widened(mean_s, cov_s, mean_t.detach(), cov_t.detach())
    root = _root(c_t)
    product = root @ (c_s + c_s.T) @ root / 2
    if not has_finite_sum(product):
        return product.sum() * float("nan")
    spectrum = torch.linalg.eigvalsh(product)
    floor = d * torch.finfo(spectrum.dtype).eps * spectrum.detach().amax().clamp_min(0.0)
    spectrum = spectrum[spectrum > floor]
    value = (m_s - m_t).square().sum() + c_s.trace() + c_t.trace() - 2 * spectrum.sqrt().sum()
    return value if squared else _root_of(value)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root; NaN where the matrix is not finite, which the decomposition would refuse."""
    if not has_finite_sum(covariance):
        return torch.full_like(covariance, torch.nan)
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0.0).sqrt()) @ vectors.T


def _root_of(value: Tensor) -> Tensor:
    """Square root that is 0, with gradient 0, where rounding took the value to 0 or below."""
    nothing = value <= 0  # not NaN
    return torch.where(nothing, 0.0, torch.where(nothing, 1.0, value).sqrt())


@explained
def moment_matching(x_s: Tensor, x_t: Tensor, *, order: int = 2, validate: bool = False) -> Tensor:
    r"""Distance between the raw moments of each feature, summed over the orders 1 to ``order``.

    .. math:: \sum_{k=1}^{K} \| E[x^k] - E[y^k] \|_2

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``; n and m may differ.
        order: int >= 1, default 2.
        validate: refuse non-finite input, naming the row.
    Returns: scalar >= 0, a sum of powers of feature units: scale the features to about 1 first; float32 or wider. 0
        for an empty batch.
    Needs: pairing none; teacher vectors.     Gradient: to ``x_s`` only; 0 where the moments agree.
    Source: Peng et al., ICCV 2019, arXiv 1812.01754, definition 1.  Deviation: one teacher, no mean over sources.
    Raises: DataError for shapes that do not fit; ConfigError for the order.
    """
    _check_order(order)
    s, t = _clouds(x_s, x_t, validate=validate)
    if not len(s) or not len(t):
        return nothing_to_compare(x_s, s.dtype)
    return _sum_of_lengths([s.pow(k).mean(0) - t.pow(k).mean(0) for k in range(1, order + 1)])


@explained
def central_moment_discrepancy(
    x_s: Tensor, x_t: Tensor, *, order: int = 5, span: float = 1.0, validate: bool = False
) -> Tensor:
    r"""Distance between the means and the central moments of each feature.

    .. math:: \frac{\| m_s - m_t \|_2}{|b - a|}
        + \sum_{k=2}^{K} \frac{\| E[(x - m_s)^k] - E[(y - m_t)^k] \|_2}{|b - a|^k}

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``; n and m may differ.
        order: int >= 1, default 5 (the paper's K).
        span: float > 0, default 1: the length b - a of the interval that holds the features (tanh: 2).
        validate: refuse non-finite input, naming the row.
    Returns: scalar >= 0, without unit; float32 or wider. 0 for an empty batch.
    Needs: pairing none; teacher vectors, bounded.     Gradient: to ``x_s`` only; 0 where the moments agree.
    Source: Zellinger et al., ICLR 2017, arXiv 1702.08811, definition 2.  Deviation: none.
    Raises: DataError for shapes that do not fit; ConfigError for order or span.
    """
    _check_order(order)
    check_positive("span", span)
    s, t = _clouds(x_s, x_t, validate=validate)
    if not len(s) or not len(t):
        return nothing_to_compare(x_s, s.dtype)
    mean_s, mean_t = s.mean(0), t.mean(0)
    gaps = [(mean_s - mean_t) / span]
    s, t = (s - mean_s) / span, (t - mean_t) / span
    gaps += [s.pow(k).mean(0) - t.pow(k).mean(0) for k in range(2, order + 1)]
    return _sum_of_lengths(gaps)


def _sum_of_lengths(gaps: list[Tensor]) -> Tensor:
    plain = torch.stack([torch.linalg.vector_norm(gap) for gap in gaps]).sum()
    if math.isfinite(plain.item()):
        return plain
    return torch.stack([euclidean_length(gap) for gap in gaps]).sum()  # the squares have overflowed


def _check_order(order: int) -> None:
    if order < 1:
        raise ConfigError(f"order must be >= 1, got {order}")
