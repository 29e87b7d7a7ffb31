"""Unbalanced transport without entropy, by majorisation and minimisation: every step is exact and multiplicative."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Penalty = Literal["kl", "l2"]
_TINY = 1e-16  # keeps an emptied row from dividing zero by zero; the reference's value


def majorised_plan(
    matrix: Tensor,
    a: Tensor,
    b: Tensor,
    rho: tuple[float, float],
    penalty: Penalty,
    tol: float,
    max_iter: int,
) -> tuple[Tensor, int, float]:
    """The plan for ``min <P, M> + rho_s D(P1 | a) + rho_t D(P^T 1 | b)``, the steps taken and the last one's move.

    Differentiable through the steps. Entries off the support fade geometrically and reach zero only in the limit.
    """
    rho_s, rho_t = rho
    part_s, part_t = rho_s / (rho_s + rho_t), rho_t / (rho_s + rho_t)
    plan = a.unsqueeze(1) * b
    if penalty == "kl":
        kernel = (a**part_s).unsqueeze(1) * b**part_t * torch.exp(matrix / -(rho_s + rho_t))
    else:
        kernel = (rho_s * a.unsqueeze(1) + rho_t * b - matrix).clamp_min(0.0)
    step, moved = 0, float("inf")
    while step < max_iter and moved > tol:
        rows, columns = plan.sum(1, keepdim=True), plan.sum(0)
        if penalty == "kl":
            new = kernel * plan / (rows**part_s * columns**part_t + _TINY)
        else:
            new = kernel * plan / (rho_s * rows + rho_t * columns + _TINY)
        moved = float((new.detach() - plan.detach()).abs().sum())
        plan, step = new, step + 1
    return plan, step, moved


def majorised_objective(
    plan: Tensor, matrix: Tensor, a: Tensor, b: Tensor, rho: tuple[float, float], penalty: Penalty
) -> Tensor:
    """The objective at ``plan``; with the plan held fixed its gradient is exact."""
    value = (plan * matrix).sum()
    for got, wanted, weight in ((plan.sum(1), a, rho[0]), (plan.sum(0), b, rho[1])):
        if penalty == "kl":
            value = value + weight * (torch.xlogy(got, got / wanted) - got + wanted).sum()
        else:
            value = value + weight * 0.5 * (got - wanted).square().sum()
    return value
