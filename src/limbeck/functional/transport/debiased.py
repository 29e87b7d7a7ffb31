"""The Sinkhorn divergence: entropic transport without its bias, zero when the clouds coincide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.costs import Clouds
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_both_gradients
from limbeck.functional.precision import check_finite, check_positive, explained, narrowed, without_autocast
from limbeck.functional.transport.entropic import (
    Settings,
    TransportInfo,
    answer,
    check_digits,
    in_digits,
    in_enough_digits,
    marginal,
    warn_not_converged,
)
from limbeck.functional.transport.solver.sinkhorn import DEFAULT_TOL, extent_of
from limbeck.functional.transport.solver.vectors import times
from limbeck.functional.warnings_once import warn_once

_COSTS = {1: ("euclidean", 1.0), 2: ("sqeuclidean", 0.5)}  # |x - y|^p / p


@dataclass
class _Self:
    """A cloud's transport to itself: value, kernel and the one scaling, ``plan = diag(u) kernel diag(u)``."""

    value: Tensor
    kernel: Tensor
    u: Tensor
    info: TransportInfo


@explained
@without_autocast
def sinkhorn_divergence(
    x_s: Tensor,
    x_t: Tensor,
    *,
    p: int = 2,
    blur: float = 0.05,
    debias: bool = True,
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    teacher_term: Tensor | float | None = None,
    tol: float | None = None,
    max_iter: int = 1000,
    validate: bool = False,
    return_info: bool = False,
) -> Tensor | tuple[Tensor, TransportInfo]:
    r"""Debiased entropic transport cost between two clouds; zero when they coincide.

    .. math:: S_\varepsilon(a, b) = OT_\varepsilon(a, b) - \tfrac12 OT_\varepsilon(a, a) - \tfrac12
        OT_\varepsilon(b, b), \quad OT_\varepsilon = \min_P \langle P, C\rangle + \varepsilon\, KL(P | a b^T), \quad
        C = |x - y|^p / p, \quad \varepsilon = blur^p

    Args:
        x_s: student features, ``(n, d)``, any scale.      x_t: teacher features, ``(m, d)``; n and m may differ.
        p: 2 (half squared distances) or 1 (distances).
        blur: > 0, in units of the features. A blur far below the distances between points makes the problem slow
            and close to exact transport: scale features first, or raise it.
        debias: False gives the first term alone (``dual`` of :func:`transport_cost`).
        weights_s, weights_t: ``(n,)``, ``(m,)``, >= 0, scaled to sum to one; uniform when None.
        teacher_term: ``sinkhorn_teacher_term(x_t, ...)`` of the same teacher rows and settings, computed once.
        tol: L1 error of the marginals to stop at, as in :func:`transport_cost`; the self terms stop at 1e-4, or at
            a hundredth of it.
        max_iter: most sweeps of each of the problems.
        validate: refuse NaN and Inf, naming their rows.      return_info: also return a TransportInfo.
    Returns: scalar in (feature units)^p, float32 or float64. Exactly 0 when both arguments are one tensor, else
        >= -1e-6 of the transport cost (it is not clamped, so the gradient lives).
    Needs: pairing none; teacher vectors; memory O(n max(n, m)).
    Gradient: to ``x_s``, and ``x_t`` if it asks; envelope theorem, exact at convergence; no second derivative.
    Source: Feydy et al., AISTATS 2019, arXiv 1810.08278; semantics of geomloss.    Deviation: iterates to ``tol``
        where geomloss stops after its annealing.
    Raises: ConfigError if blur <= 0 or p is not 1 or 2; DataError if d differs; NonFiniteError.
    Limits: n = m = 1 gives the cost. An empty side gives 0 and a warning.
    Example:
        >>> round(float(sinkhorn_divergence(torch.zeros(3, 2), torch.zeros(5, 2))), 6)
        0.0
    """
    eps = _epsilon(p, blur)
    costs.check_clouds(x_s, x_t)
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    dtype = costs.computing_dtype(x_s, x_t)
    settings = Settings(eps, value="dual", tol=tol, max_iter=max_iter)
    if not len(x_s) or not len(x_t) or (_same(x_s, x_t) and weights_s is weights_t and debias):
        if not len(x_s) or not len(x_t):
            warn_once("sinkhorn_divergence: a side has no rows, so there is nothing to compare and it is 0")
        zero = nothing_to_compare(x_s, dtype)
        return (zero, TransportInfo(reg=eps)) if return_info else zero
    a = marginal(weights_s, len(x_s), x_s, dtype, "weights_s")
    b = marginal(weights_t, len(x_t), x_t, dtype, "weights_t")
    wants = wants_gradient(x_s), wants_gradient(x_t)

    def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor | None, TransportInfo]:
        clouds = x_s.to(dtype), x_t.to(dtype)
        return _debiased(
            *clouds, in_digits(a, dtype), in_digits(b, dtype), p, settings, wants, debias, teacher_term
        )

    with torch.no_grad():
        value, to_s, to_t, info = in_enough_digits(problem, dtype)
    warn_not_converged(info, "sinkhorn_divergence")
    to_s, to_t = narrowed(to_s, dtype), narrowed(to_t, dtype)
    total = with_both_gradients(value.to(dtype), x_s, to_s, x_t, to_t, "sinkhorn_divergence")
    return (total, info) if return_info else total


@without_autocast
def sinkhorn_teacher_term(
    x_t: Tensor,
    *,
    p: int = 2,
    blur: float = 0.05,
    weights_t: Tensor | None = None,
    tol: float | None = None,
    max_iter: int = 1000,
) -> Tensor:
    r"""The teacher's own part of :func:`sinkhorn_divergence`, :math:`OT_\varepsilon(b, b)`, to be computed once.

    Args:
        x_t: teacher features, ``(m, d)``.      p, blur, weights_t, tol, max_iter: as given to the divergence.
    Returns: scalar in (feature units)^p, no gradient.
    Needs: memory O(m^2).      Gradient: none.
    Source: Feydy et al., AISTATS 2019, arXiv 1810.08278.
    Raises: ConfigError if blur <= 0 or p is not 1 or 2.
    Example:
        >>> float(sinkhorn_teacher_term(torch.zeros(5, 2)))
        0.0
    """
    eps = _epsilon(p, blur)
    dtype = costs.computing_dtype(x_t)
    b = marginal(weights_t, len(x_t), x_t, dtype, "weights_t")

    def problem(dtype: torch.dtype) -> _Self:
        x = x_t.to(dtype)
        settings = Settings(eps, tol=tol, max_iter=max_iter)
        return _to_itself(x - x.mean(0), in_digits(b, dtype), p, settings, checked=True)[0]

    with torch.no_grad():
        found = in_enough_digits(problem, dtype)
    warn_not_converged(found.info, "sinkhorn_teacher_term")
    return found.value.to(dtype)


def _epsilon(p: int, blur: float) -> float:
    if p not in _COSTS:
        raise ConfigError(f"p must be 1 or 2, got {p}")
    check_positive("blur", blur)
    return blur**p


def _same(x: Tensor, y: Tensor) -> bool:
    return x is y or (
        x.data_ptr() == y.data_ptr()
        and x.shape == y.shape
        and x.stride() == y.stride()
        and x.dtype == y.dtype
    )


def _debiased(
    x_s: Tensor,
    x_t: Tensor,
    a: Tensor,
    b: Tensor,
    p: int,
    s: Settings,
    wants: tuple[bool, bool],
    debias: bool,
    teacher_term: Tensor | float | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, TransportInfo]:
    """Value, the gradients that are wanted, and the worst of the solvers' reports."""
    cost, factor = _COSTS[p]
    clouds = costs.prepare(x_s, x_t, cost)
    self_s = self_t = None
    if debias:
        self_s, clouds_s = _to_itself(clouds.s, a, p, s)
        if teacher_term is None or wants[1]:
            self_t, clouds_t = _to_itself(clouds.t, b, p, s)
    logits = costs.negative_cost(clouds, factor / s.reg)
    # where the clouds overlap, the student's own potential is close to the one between them
    start = None if self_s is None else self_s.u.log()
    found = answer(logits, a, b, s.reg, s, span=float("inf"), start=start)
    value, info = found.value, found.info
    to_s = factor * costs.pull_back(clouds, found.weight, found.u, found.v) if wants[0] else None
    to_t = None
    if wants[1]:
        to_t = factor * costs.pull_back(clouds.swapped(), found.weight.mT, found.v, found.u)
    if self_s is not None:
        value = value - 0.5 * self_s.value
        info = _worse(info, self_s.info)
        if to_s is not None:  # both sides of the self term move, and it counts half
            to_s -= factor * costs.pull_back(clouds_s, self_s.kernel, self_s.u, self_s.u)
    if self_t is not None:
        info = _worse(info, self_t.info)
        if to_t is not None:
            to_t -= factor * costs.pull_back(clouds_t, self_t.kernel, self_t.u, self_t.u)
        if teacher_term is None:
            teacher_term = self_t.value
    if debias and teacher_term is not None:
        value = value - 0.5 * teacher_term
    return value, to_s, to_t, info


def _to_itself(x: Tensor, a: Tensor, p: int, s: Settings, *, checked: bool = False) -> tuple[_Self, Clouds]:
    """Symmetric fixed point ``u <- sqrt(u a / (K u))``; the kernel's diagonal is 1, so nothing can overflow.

    Raises: TooCoarse, if ``checked`` (in a divergence the transport between the clouds says it).
    """
    cost, factor = _COSTS[p]
    clouds = Clouds(cost, x, x)
    kernel = costs.negative_cost(clouds, factor / s.reg)
    kernel.diagonal().zero_()
    if checked:
        check_digits(*extent_of(kernel), kernel)
    kernel.exp_()
    u = a / times(kernel, a)
    # cheap to converge, and what is left here would bias the difference
    tol = 0.01 * (s.tol or DEFAULT_TOL)
    error, sweeps = float("inf"), 0
    while sweeps < s.max_iter:
        got = u * times(kernel, u)
        error = float((got - a).abs().sum())
        if not error > tol:
            break
        u = u * (a / got).sqrt_()
        sweeps += 1
    # the dual objective, from below and to second order also while the marginals are off
    value = (2.0 * (a * (u / a).log()).sum() - got.sum() + a.sum()) * s.reg
    return _Self(value, kernel, u, TransportInfo(sweeps, error, error <= tol, s.reg)), clouds


def _worse(one: TransportInfo, other: TransportInfo) -> TransportInfo:
    return replace(
        one,
        iterations=max(one.iterations, other.iterations),
        error=max(one.error, other.error),
        converged=one.converged and other.converged,
    )
