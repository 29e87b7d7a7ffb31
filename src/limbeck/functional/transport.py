"""Entropic transport between a student's and a teacher's features: the cost and the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.adjoint import sharp_value
from limbeck.functional.costs import Cost
from limbeck.functional.notices import warn_once
from limbeck.functional.sinkhorn import Scaling, solve

Value = Literal["sharp", "dual"]


@dataclass
class TransportInfo:
    """How the solver fared: sweeps, L1 error of the column marginals, and the regularisation it used (cost units)."""

    iterations: int = 0
    error: float = 0.0
    converged: bool = True
    reg: float = 0.0
    plan: Tensor | None = None


@dataclass
class Problem:
    """One entropic problem: its settings going in, its :class:`TransportInfo` coming out."""

    reg: float
    value: str
    tol: float
    max_iter: int
    a: Tensor
    b: Tensor
    groups: tuple[Tensor, Tensor] | None = None
    softness: tuple[float, float] = (1.0, 1.0)
    wants_plan: bool = False
    info: TransportInfo = field(default_factory=TransportInfo)

    def record(self, solved: Scaling) -> None:
        self.info = TransportInfo(solved.iterations, solved.error, solved.converged, self.reg)
        if self.wants_plan:
            self.info.plan = solved.plan()


def value_and_weight(
    logits: Tensor, p: Problem, *, span: float, wants_weight: bool
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
    """Value in cost units (without offset) and its gradient to the cost as ``(u, weight, v)``; uses up ``logits``."""
    sharp = p.value == "sharp"
    solved = solve(
        logits, p.a, p.b, tol=p.tol, max_iter=p.max_iter, span=span, softness=p.softness, groups=p.groups,
        keep_logits=sharp,
    )  # fmt: skip
    p.record(solved)
    if sharp:
        result = sharp_value(logits, solved, p.a, p.b, tol=min(p.tol, 1e-2) * 0.1, softness=p.softness)
        return result.value * p.reg, (solved.u, result.weight, solved.v)
    return dual_value(solved, p.a, p.b) * p.reg, (solved.u, solved.kernel, solved.v)


def dual_value(solved: Scaling, a: Tensor, b: Tensor) -> Tensor:
    """``<P, M> / reg + KL(P | a b)`` from the potentials: second order in the marginal error, from below."""
    potential_s = torch.xlogy(a, solved.u / a.clamp_min(1e-30)) + a * solved.shift_s
    potential_t = torch.xlogy(b, solved.v / b.clamp_min(1e-30)) + b * solved.shift_t
    return potential_s.sum() + potential_t.sum()


class _Between(torch.autograd.Function):
    """Transport under a named cost: both gradients are made in the forward pass, one GEMM each."""

    @staticmethod
    def forward(
        ctx: Any, x_s: Tensor, x_t: Tensor, cost: str, p: Problem, wants: tuple[bool, bool]
    ) -> Tensor:
        dtype = p.a.dtype
        clouds = costs.prepare(x_s.to(dtype), x_t.to(dtype), cost)
        logits = costs.negative_cost(clouds, 1.0 / p.reg)
        value, weight = value_and_weight(
            logits, p, span=costs.span_bound(cost) / p.reg, wants_weight=any(wants)
        )
        grad_s = grad_t = None
        if weight is not None and wants[0]:
            grad_s = costs.pull_back(clouds, weight[1], weight[0], weight[2])
        if weight is not None and wants[1]:
            grad_t = costs.pull_back(clouds.swapped(), weight[1].mT, weight[2], weight[0])
        ctx.save_for_backward(x_s, x_t, grad_s, grad_t)
        return value + costs.offset(cost) * p.a.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        x_s, x_t, grad_s, grad_t = ctx.saved_tensors
        to_s = None if grad_s is None else (grad * costs.once(grad_s, x_s, "transport_cost")).to(x_s.dtype)
        to_t = None if grad_t is None else (grad * costs.once(grad_t, x_t, "transport_cost")).to(x_t.dtype)
        return to_s, to_t, None, None, None


class _OfMatrix(torch.autograd.Function):
    """Transport under a given cost matrix."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, p: Problem, wants: bool) -> Tensor:
        value, weight = value_and_weight(matrix * (-1.0 / p.reg), p, span=float("inf"), wants_weight=wants)
        full = None
        if weight is not None and wants:
            u, kernel, v = weight
            full = (kernel * u.unsqueeze(-1)).mul_(v)
        ctx.save_for_backward(matrix, full)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        matrix, full = ctx.saved_tensors
        return None if full is None else grad * costs.once(full, matrix, "transport_cost"), None, None


def marginal(weights: Tensor | None, n: int, like: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Weights that sum to one; uniform when none are given."""
    if weights is None:
        return like.new_full((n,), 1.0 / n, dtype=dtype)
    if weights.shape != (n,):
        raise ConfigError(f"{name} must have one entry per row, ({n},), got {tuple(weights.shape)}")
    weights = weights.detach().to(dtype)
    total = float(weights.sum())
    if not total > 0 or float(weights.min()) < 0:
        raise ConfigError(f"{name} must be >= 0 and not all zero")
    return weights / total


def transport_cost(
    x_s: Tensor,
    x_t: Tensor,
    *,
    cost: Cost = "cosine",
    reg: float = 0.1,
    reg_scale: Literal["absolute", "median"] = "absolute",
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    labels_s: Tensor | None = None,
    labels_t: Tensor | None = None,
    value: Value = "sharp",
    tol: float = 1e-2,
    max_iter: int = 2000,
    return_info: bool | Literal["plan"] = False,
) -> Any:
    """Entropic transport cost between two clouds of features."""
    dtype = costs.computing_dtype(x_s, x_t)
    a = marginal(weights_s, len(x_s), x_s, dtype, "weights_s")
    b = marginal(weights_t, len(x_t), x_t, dtype, "weights_t")
    groups = None if labels_s is None or labels_t is None else (labels_s, labels_t)
    p = Problem(reg, value, tol, max_iter, a, b, groups, wants_plan=return_info == "plan")
    grad = torch.is_grad_enabled()
    if isinstance(cost, str):
        costs.check_cost_name(cost)
        costs.check_clouds(x_s, x_t)
        out = _Between.apply(x_s, x_t, cost, p, (grad and x_s.requires_grad, grad and x_t.requires_grad))
    else:
        matrix = costs.cost_matrix(x_s, x_t, cost)
        out = _OfMatrix.apply(matrix, p, grad and matrix.requires_grad)
    if not p.info.converged:
        warn_not_converged(p.info)
    return (out, p.info) if return_info else out


def warn_not_converged(info: TransportInfo) -> None:
    warn_once(
        f"transport has not converged: marginal error {info.error:.2g} after {info.iterations} sweeps at reg "
        f"{info.reg:.3g}; raise max_iter or reg, or give labels_s and labels_t"
    )


def transport_plan(x_s: Tensor, x_t: Tensor, **options: Any) -> Tensor:
    """The plan of :func:`transport_cost`, (n, m), without gradient; same options."""
    with torch.no_grad():
        _, info = transport_cost(x_s, x_t, **(options | {"return_info": "plan", "value": "dual"}))
    return cast(Tensor, info.plan)
