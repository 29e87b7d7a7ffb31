"""One entropic transport problem: its value, its gradient to the cost, and how the solver fared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.transport.adjoint import sharp_value
from limbeck.functional.transport.sinkhorn import DEFAULT_TOL, FLOOR, Scaling, solve, times, total
from limbeck.functional.warnings_once import warn_once

Value = Literal["sharp", "dual"]
RegScale = Literal["absolute", "median"]
_MEDIAN_ENTRIES = 65_536


@dataclass
class TransportInfo:
    """How the solver fared.

    ``error`` is the L1 error of the marginals as a part of the mass, ``reg`` the regularisation in cost units that
    was used, ``plan`` the ``(n, m)`` plan where it was asked for.
    """

    iterations: int = 0
    error: float = 0.0
    converged: bool = True
    reg: float = 0.0
    plan: Tensor | None = None


@dataclass
class Settings:
    """What to solve for, and how closely."""

    reg: float
    reg_scale: RegScale = "absolute"
    value: Value = "sharp"
    tol: float | None = None
    max_iter: int = 1000
    softness: tuple[float, float] = (1.0, 1.0)
    groups: tuple[Tensor, Tensor] | None = None
    wants_plan: bool = False

    def __post_init__(self) -> None:
        if self.max_iter < 1:
            raise ConfigError(f"max_iter must be >= 1, got {self.max_iter}")
        if self.tol is not None and not self.tol >= 0:
            raise ConfigError(f"tol must be >= 0 or None, got {self.tol}")


@dataclass
class Answer:
    """``value`` in cost units; its gradient to the cost is ``diag(u) weight diag(v)``."""

    value: Tensor
    weight: Tensor
    u: Tensor
    v: Tensor
    info: TransportInfo


def answer(
    logits: Tensor, a: Tensor, b: Tensor, reg: float, s: Settings, *, span: float, start: Tensor | None = None
) -> Answer:
    """Solve and value one problem given as ``-cost / reg``; uses up ``logits``."""
    sharp = s.value == "sharp"
    solved = solve(
        logits, a, b, tol=s.tol, max_iter=s.max_iter, span=span, softness=s.softness, groups=s.groups, start=start,
        keep_logits=sharp,
    )  # fmt: skip
    info = TransportInfo(solved.iterations, solved.error, solved.converged, reg)
    if s.wants_plan:
        info.plan = solved.plan()
    if not sharp:
        return Answer(dual_value(solved, a, b, s.softness) * reg, solved.kernel, solved.u, solved.v, info)
    value, weight = sharp_value(
        logits, solved, a, b, tol=0.1 * min(solved.tol, DEFAULT_TOL), softness=s.softness
    )
    return Answer(value * reg, weight, solved.u, solved.v, info)


def dual_value(solved: Scaling, a: Tensor, b: Tensor, softness: tuple[float, float]) -> Tensor:
    """The regularised objective / reg from the potentials: second order in the marginal error, from below."""
    potential_s, potential_t = (solved.u / a).log_(), (solved.v / b).log_()
    if solved.shift_s is not None and solved.shift_t is not None:
        potential_s, potential_t = potential_s + solved.shift_s, potential_t + solved.shift_t
    value = _worth(a, potential_s, softness[0]) + _worth(b, potential_t, softness[1])
    if softness == (1.0, 1.0):
        return value  # rows are exact, so the plan's mass is that of the product
    return value - total(solved.u, times(solved.kernel, solved.v)) + a.sum() * b.sum()


def _worth(a: Tensor, potential: Tensor, softness: float) -> Tensor:
    """``<a, f>`` for a hard marginal, ``-rho <a, exp(-f / rho) - 1>`` for one held by ``rho * KL``."""
    if softness == 1.0:
        return total(a, potential)
    rho = softness / (1.0 - softness)
    return total(a, torch.expm1(potential / -rho)) * -rho


def named_problem(
    x_s: Tensor, x_t: Tensor, cost: str, a: Tensor, b: Tensor, s: Settings, wants: tuple[bool, bool]
) -> tuple[Answer, Tensor | None, Tensor | None]:
    """The answer under a named cost and the gradients to both clouds (None where not wanted), no graph."""
    with torch.no_grad():
        clouds = costs.prepare(x_s, x_t, cost)
        if s.reg_scale == "median":
            logits = costs.negative_cost(clouds, 1.0)
            reg = s.reg * median_cost(costs.offset(cost) - logits)
            logits.mul_(1.0 / reg)
        else:
            reg = s.reg
            logits = costs.negative_cost(clouds, 1.0 / reg)
        if s.softness != (1.0, 1.0):  # a constant in the cost moves mass when marginals are soft
            logits.sub_(costs.offset(cost) / reg)
        found = answer(logits, a, b, reg, s, span=costs.span_bound(cost) / reg)
        if s.softness == (1.0, 1.0):
            found.value = found.value + costs.offset(cost)
        to_s = to_t = None
        if wants[1]:
            to_t = costs.pull_back(clouds.swapped(), found.weight.mT, found.v, found.u)
        if wants[0]:
            to_s = costs.pull_back(clouds, found.weight, found.u, found.v, last=True)
    return found, to_s, to_t


def matrix_problem(matrix: Tensor, a: Tensor, b: Tensor, s: Settings) -> tuple[Answer, Tensor]:
    """The answer under a given cost matrix and the gradient to it."""
    with torch.no_grad():
        reg = s.reg * median_cost(matrix) if s.reg_scale == "median" else s.reg
        found = answer(matrix * (-1.0 / reg), a, b, reg, s, span=float("inf"))
        gradient = (found.weight * found.u.unsqueeze(-1)).mul_(found.v.unsqueeze(-2))
    return found, gradient


def median_cost(matrix: Tensor) -> float:
    """Median of at most 65,536 entries spread evenly; 1 when it is not positive (all points in one place)."""
    flat = matrix.reshape(-1)
    step = max(1, flat.numel() // _MEDIAN_ENTRIES)
    step += step % 2 == 0 and step > 1  # an odd step does not run down a few columns of a power-of-two width
    middle = float(flat[::step].median())
    return middle if middle > 0 else 1.0


def marginal(weights: Tensor | None, n: int, like: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Weights scaled to sum to one, a zero lifted to the smallest the solver takes; uniform when none are given."""
    if weights is None:
        return like.new_full((n,), 1.0 / n, dtype=dtype)
    weights = checked_weights(weights, n, name).to(dtype)
    return (weights / weights.sum()).clamp_min_(FLOOR)


def checked_weights(weights: Tensor, n: int, name: str) -> Tensor:
    """Weights as given, refused when one is negative, missing or NaN, or all are zero."""
    if weights.shape != (n,):
        raise ConfigError(f"{name} must have one entry per row, ({n},), got {tuple(weights.shape)}")
    weights = weights.detach()
    if not float(weights.sum()) > 0 or not float(weights.min()) >= 0:
        raise ConfigError(f"{name} must be >= 0, finite and not all zero")
    return weights


def warn_not_converged(info: TransportInfo, name: str) -> None:
    """Say once for each calling line that the solver stopped short, and what helps."""
    if info.converged:
        return
    if info.error != info.error:
        warn_once(f"{name}: the result is NaN, the features hold NaN or Inf; validate=True names the rows")
        return
    warn_once(
        f"{name} has not converged: marginal error {info.error:.2g} after {info.iterations} sweeps at reg "
        f"{info.reg:.3g}; raise reg (reg_scale='median' follows the features' scale) or max_iter, or give labels"
    )
