"""Unbalanced transport: mass may be made or lost, at a price; outliers need not be matched."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.costs import CostName
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_both_gradients
from limbeck.functional.precision import (
    check_choice,
    check_finite,
    check_positive,
    explained,
    without_autocast,
)
from limbeck.functional.transport.entropic import (
    Settings,
    TransportInfo,
    Value,
    checked_weights,
    named_problem,
    warn_not_converged,
)
from limbeck.functional.transport.majorised import Penalty, majorised_objective, majorised_plan
from limbeck.functional.transport.solver.sinkhorn import FLOOR
from limbeck.functional.warnings_once import warn_once


@explained
@without_autocast
def unbalanced_transport_cost(
    x_s: Tensor,
    x_t: Tensor,
    *,
    marginal: float | tuple[float, float] = 1.0,
    cost: CostName = "cosine",
    reg: float = 0.1,
    penalty: Penalty = "kl",
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    value: Value = "dual",
    tol: float = 1e-3,
    max_iter: int = 1000,
    validate: bool = False,
    return_info: bool = False,
) -> Tensor | tuple[Tensor, TransportInfo]:
    r"""Entropic transport whose marginals are held by a price instead of exactly.

    .. math:: \min_{P \ge 0} \langle P, M\rangle + \varepsilon\, KL(P | a b^T) + \rho_s KL(P 1 | a) + \rho_t
        KL(P^T 1 | b), \quad KL(u | v) = \sum u \log(u / v) - u + v

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``.
        marginal: rho > 0 in units of the cost, or a pair (student, teacher); ``math.inf`` makes a side exact. A
            row farther than about rho from everything is dropped rather than carried.
        cost: ``cosine``, ``angular``, ``chordal``, ``sqeuclidean``, ``euclidean``, ``l1``.
        reg: epsilon >= 0, cost units. 0 leaves the entropy out: slower, and ``sharp`` then keeps every step for
            its gradient, O(nm steps) memory.
        penalty: what holds the marginals: ``kl``, or with reg = 0 also ``l2``, half the squared differences.
        weights_s, weights_t: masses ``(n,)``, ``(m,)``, >= 0, taken as they are; 1/n and 1/m when None.
        value: ``dual`` is the whole objective (gradient: the plan held fixed, exact); ``sharp`` is ``<P, M>``
            with its true gradient.
        tol: part of the mass that a sweep may still move, and by which the marginals may miss what the price asks for.
        max_iter: most sweeps.
        validate: refuse NaN and Inf, naming their rows.      return_info: also return a TransportInfo.
    Returns: scalar in cost units, float32 or float64.
    Needs: pairing none; teacher vectors; memory O(nm).
    Gradient: to ``x_s``, and ``x_t`` if it asks; no second derivative.
    Source: Chizat et al., Math. Comp. 2018, arXiv 1607.05816; reg = 0: Chapel et al., NeurIPS 2021, arXiv
        2106.04145.    Deviation: none.
    Raises: ConfigError for marginal or reg <= 0 and bad weights; DataError if d differs; NonFiniteError.
    Limits: with both sides exact the masses must agree (refused otherwise). An empty side gives 0 and a warning.
    Example:
        >>> far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
        >>> bool(unbalanced_transport_cost(*far, marginal=0.1) < 0.3)  # carrying would cost 2
        True
    """
    rho = (marginal, marginal) if isinstance(marginal, int | float) else marginal
    _check(x_s, x_t, rho, cost, reg, penalty, value)
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    dtype = costs.computing_dtype(x_s, x_t)
    if not len(x_s) or not len(x_t):
        warn_once("unbalanced_transport_cost: a side has no rows, so the cost is taken as 0")
        zero = nothing_to_compare(x_s, dtype)
        return (zero, TransportInfo(reg=reg)) if return_info else zero
    a, b = _masses(weights_s, x_s, dtype, "weights_s"), _masses(weights_t, x_t, dtype, "weights_t")
    if math.isinf(rho[0]) and math.isinf(rho[1]) and abs(float(a.sum() - b.sum())) > 1e-4 * float(a.sum()):
        raise ConfigError(
            f"with both marginals exact the masses must agree, got {float(a.sum()):.4g} and {float(b.sum()):.4g}; "
            "use transport_cost, which scales them, or a finite marginal"
        )
    if reg == 0:
        total, info = _without_entropy(x_s, x_t, a, b, rho, cost, penalty, value, tol, max_iter)
        warn_not_converged(info, "unbalanced_transport_cost")
        return (total, info) if return_info else total
    softness = _softness(rho[0], reg), _softness(rho[1], reg)
    settings = Settings(reg, value=value, tol=tol, max_iter=max_iter, softness=softness)
    wants = wants_gradient(x_s), wants_gradient(x_t)
    found, to_s, to_t = named_problem(x_s.to(dtype), x_t.to(dtype), cost, a, b, settings, wants)
    warn_not_converged(found.info, "unbalanced_transport_cost")
    total = with_both_gradients(found.value, x_s, to_s, x_t, to_t, "unbalanced_transport_cost")
    return (total, found.info) if return_info else total


def _check(
    x_s: Tensor, x_t: Tensor, rho: tuple[float, float], cost: str, reg: float, penalty: str, value: str
) -> None:
    check_positive("marginal", min(rho))
    if reg != 0:
        check_positive("reg", reg)
    check_choice("penalty", penalty, ("kl", "l2"))
    if (penalty == "l2" and reg != 0) or (reg == 0 and math.isinf(max(rho))):
        raise ConfigError(
            "penalty='l2' serves reg=0 alone, and reg=0 needs a finite marginal on both sides "
            "(exact_transport_cost holds them exactly)"
        )
    check_choice("value", value, ("sharp", "dual"))
    check_choice("cost", cost, costs.COST_NAMES)
    costs.check_clouds(x_s, x_t)


def _without_entropy(
    x_s: Tensor,
    x_t: Tensor,
    a: Tensor,
    b: Tensor,
    rho: tuple[float, float],
    cost: str,
    penalty: Penalty,
    value: Value,
    tol: float,
    max_iter: int,
) -> tuple[Tensor, TransportInfo]:
    matrix = costs.cost_matrix(x_s, x_t, cost)  # type: ignore[arg-type]
    with torch.set_grad_enabled(torch.is_grad_enabled() and value == "sharp"):
        plan, steps, moved = majorised_plan(matrix, a, b, rho, penalty, tol, max_iter)
    info = TransportInfo(steps, moved, moved <= tol, 0.0)
    if value == "sharp":
        return (plan * matrix).sum(), info
    return majorised_objective(plan, matrix, a, b, rho, penalty), info


def _masses(weights: Tensor | None, x: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    if weights is None:
        return x.new_full((len(x),), 1.0 / len(x), dtype=dtype)
    return checked_weights(weights, len(x), name).to(dtype).clamp_min(FLOOR)


def _softness(rho: float, reg: float) -> float:
    return 1.0 if math.isinf(rho) else rho / (rho + reg)
