"""One entropic transport problem: its value, its gradient to the cost, and how the solver fared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.precision import can_widen, narrowed
from limbeck.functional.transport.solver.adjoint import sharp_value
from limbeck.functional.transport.solver.annealing import is_annealed
from limbeck.functional.transport.solver.log_domain import needs_logs, solve_in_logs
from limbeck.functional.transport.solver.sinkhorn import (
    DEFAULT_TOL,
    FLOOR,
    Scaling,
    extent_of,
    needs_shifts,
    potentials,
    solve,
)
from limbeck.functional.transport.solver.soft_marginals import Softness, is_soft
from limbeck.functional.transport.solver.vectors import times, total
from limbeck.functional.warnings_once import warn_once

Value = Literal["sharp", "dual"]
RegScale = Literal["absolute", "median"]
_MEDIAN_ENTRIES = 65_536
# Largest cost in units of reg that float32 serves. Beyond, rounding moves a plan's entries by more than a thousandth;
# below, a potential is not much more than the rounding of 1.
_FLOAT32 = 0.1, 1e4


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
    softness: Softness = (1.0, 1.0)
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

    def narrowed(self, dtype: torch.dtype) -> Answer:
        """With value and plan in the type that the caller works in."""
        if self.value.dtype == dtype:
            return self
        info = replace(self.info, plan=narrowed(self.info.plan, dtype))
        return replace(self, value=self.value.to(dtype), info=info)


class TooCoarse(Exception):
    """Raised before the first sweep: this problem's costs need float64."""


def in_enough_digits(problem: Callable[[torch.dtype], Any], dtype: torch.dtype) -> Any:
    """``problem(dtype)``, or where that is too coarse ``problem(float64)``."""
    try:
        return problem(dtype)
    except TooCoarse:
        return problem(torch.float64)


def check_digits(low: float, high: float, like: Tensor, softness: Softness = (1.0, 1.0)) -> None:
    """Raise TooCoarse if logits from ``low`` to ``high`` are too much, or too little, for float32 (if ``like`` is)."""
    size = max(-low, high)
    fits = size == 0 or _FLOAT32[0] <= size <= _FLOAT32[1]  # NaN does not fit
    if can_widen(like) and not (fits and not needs_logs(size, softness)):
        raise TooCoarse


def in_digits(a: Tensor, dtype: torch.dtype, softness: Softness = (1.0, 1.0)) -> Tensor:
    """A marginal in another type; hard ones sum to one there too."""
    if a.dtype == dtype:
        return a
    wide = a.to(dtype)
    return wide if is_soft(softness) else wide / wide.sum()


def answer(
    logits: Tensor, a: Tensor, b: Tensor, reg: float, s: Settings, *, span: float, start: Tensor | None = None
) -> Answer:
    """Solve and value one problem given as ``-cost / reg``; uses up ``logits``.

    Raises: TooCoarse.
    """
    sharp, extent, in_logs = s.value == "sharp", None, False
    if needs_shifts(span):
        low, high = extent = extent_of(logits)
        check_digits(low, high, logits, s.softness)
        in_logs = needs_logs(max(-low, high), s.softness)
    if in_logs:
        tol, span = DEFAULT_TOL if s.tol is None else s.tol, high - low
        solved = solve_in_logs(logits, a, b, tol=tol, max_iter=s.max_iter, span=span, softness=s.softness)
    else:
        solved = solve(
            logits, a, b, tol=s.tol, max_iter=s.max_iter, span=span, extent=extent, softness=s.softness,
            groups=s.groups, start=start, keep_logits=sharp,
        )  # fmt: skip
    info = TransportInfo(solved.iterations, solved.error, solved.converged, reg)
    if s.wants_plan:
        info.plan = solved.plan()
    if not sharp:
        return Answer(dual_value(solved, a, b, s.softness) * reg, solved.kernel, solved.u, solved.v, info)
    value, weight = sharp_value(
        logits, solved, a, b, tol=0.1 * min(solved.tol, DEFAULT_TOL), softness=s.softness,
        held=extent is not None and is_annealed(extent[1] - extent[0]) and not solved.converged,
    )  # fmt: skip
    return Answer(value * reg, weight, solved.u, solved.v, info)


def dual_value(solved: Scaling, a: Tensor, b: Tensor, softness: Softness) -> Tensor:
    """The regularised objective / reg from the potentials: second order in the marginal error, from below."""
    potential_s, potential_t = potentials(solved, a, b)
    value = _worth(a, potential_s, softness[0]) + _worth(b, potential_t, softness[1])
    if not is_soft(softness):
        return value  # rows are exact, so the plan's mass is that of the product
    return value - total(solved.u, times(solved.kernel, solved.v)) + a.sum() * b.sum()


def _worth(a: Tensor, potential: Tensor, softness: float) -> Tensor:
    """``<a, f>`` for a hard marginal, ``-rho <a, exp(-f / rho) - 1>`` for one held by ``rho * KL``."""
    if softness == 1.0:
        return total(a, potential)
    rho = softness / (1.0 - softness)
    return total(a, torch.expm1(potential / -rho)) * -rho


def named_problem(
    x_s: Tensor,
    x_t: Tensor,
    cost: str,
    a: Tensor,
    b: Tensor,
    s: Settings,
    wants: tuple[bool, bool],
    constant: Tensor | None = None,
) -> tuple[Answer, Tensor | None, Tensor | None]:
    """The answer under a named cost and the gradients to both clouds (None where not wanted), no graph.

    Args:
        constant: is added to the value, in units of reg, before it is narrowed.
    """

    def problem(dtype: torch.dtype) -> tuple[Answer, Tensor | None, Tensor | None]:
        marginals = in_digits(a, dtype, s.softness), in_digits(b, dtype, s.softness)
        return _named_problem(x_s.to(dtype), x_t.to(dtype), cost, *marginals, s, wants)

    with torch.no_grad():
        found, to_s, to_t = in_enough_digits(problem, a.dtype)
        if constant is not None:
            found.value = found.value + found.info.reg * constant.to(found.value.dtype).to(found.value.device)
    return found.narrowed(a.dtype), narrowed(to_s, a.dtype), narrowed(to_t, a.dtype)


def _named_problem(
    x_s: Tensor, x_t: Tensor, cost: str, a: Tensor, b: Tensor, s: Settings, wants: tuple[bool, bool]
) -> tuple[Answer, Tensor | None, Tensor | None]:
    clouds = costs.prepare(x_s, x_t, cost)
    if s.reg_scale == "median":
        logits = costs.negative_cost(clouds, 1.0)
        reg = s.reg * median_cost(costs.offset(cost) - logits)
        logits.mul_(1.0 / reg)
    else:
        reg = s.reg
        logits = costs.negative_cost(clouds, 1.0 / reg)
    if is_soft(s.softness):  # a constant in the cost moves mass when marginals are soft
        logits.sub_(costs.offset(cost) / reg)
    found = answer(logits, a, b, reg, s, span=costs.span_bound(cost) / reg)
    if not is_soft(s.softness):
        found.value = found.value + costs.offset(cost)
    to_s = to_t = None
    if wants[1]:
        to_t = costs.pull_back(clouds.swapped(), found.weight.mT, found.v, found.u)
    if wants[0]:
        to_s = costs.pull_back(clouds, found.weight, found.u, found.v, last=True)
    return found, to_s, to_t


def matrix_problem(matrix: Tensor, a: Tensor, b: Tensor, s: Settings) -> tuple[Answer, Tensor]:
    """The answer under a given cost matrix and the gradient to it."""

    def problem(dtype: torch.dtype) -> tuple[Answer, Tensor]:
        wide = matrix.to(dtype)
        reg = s.reg * median_cost(wide) if s.reg_scale == "median" else s.reg
        marginals = in_digits(a, dtype), in_digits(b, dtype)
        found = answer(wide * (-1.0 / reg), *marginals, reg, s, span=float("inf"))
        return found, (found.weight * found.u.unsqueeze(-1)).mul_(found.v.unsqueeze(-2))

    with torch.no_grad():
        found, gradient = in_enough_digits(problem, matrix.dtype)
    return found.narrowed(matrix.dtype), gradient.to(matrix.dtype)


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
    if not 0 < float(weights.sum()) < float("inf") or not float(weights.min()) >= 0:
        raise ConfigError(f"{name} must be >= 0, finite and not all zero")
    return weights


def warn_not_converged(info: TransportInfo, name: str) -> None:
    """Say once for each calling line that the solver stopped short, and what helps (NaN has its own sentence)."""
    if info.converged or info.error != info.error:
        return
    warn_once(
        f"{name} has not converged: marginal error {info.error:.2g} after {info.iterations} sweeps at reg "
        f"{info.reg:.3g}; raise reg (reg_scale='median' follows the features' scale) or max_iter, or give labels"
    )
