"""Transport inside each class: one padded batch of problems while they are small, one after another when large."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from limbeck.functional import costs
from limbeck.functional.transport.class_blocks import ClassBlocks
from limbeck.functional.transport.entropic import Settings, TransportInfo, median_cost, named_problem

_LARGE = 96 * 96  # entries of a class' cost matrix from which padding costs more than it saves

Graded = tuple[Tensor, Tensor | None, Tensor | None, TransportInfo]


def within_class_problem(
    x_s: Tensor, x_t: Tensor, cost: str, blocks: ClassBlocks, s: Settings, wants: tuple[bool, bool]
) -> Graded:
    """Sum over classes of mass times cost, its gradients to both clouds, and the solvers' joint report; no graph."""
    with torch.no_grad():
        if s.reg_scale == "median":  # of all costs, so that every class has one reg
            reg = s.reg * median_cost(costs.cost_matrix(x_s, x_t, cost))  # type: ignore[arg-type]
            s = replace(s, reg=reg, reg_scale="absolute")
        mean = blocks.inside_s.sum() / len(blocks.mass) * blocks.inside_t.sum() / len(blocks.mass)
        return (_one_by_one if float(mean) > _LARGE else _padded)(x_s, x_t, cost, blocks, s, wants)


def _padded(
    x_s: Tensor, x_t: Tensor, cost: str, blocks: ClassBlocks, s: Settings, wants: tuple[bool, bool]
) -> Graded:
    mass = blocks.mass.cpu().double()
    mass /= mass.sum()
    # KL against a b inside a class, not against a b over all
    inside = torch.xlogy(mass, mass).sum() if s.value == "dual" else None
    found, by_class_s, by_class_t = named_problem(
        x_s[blocks.rows_s], x_t[blocks.rows_t], cost, blocks.a, blocks.b, s, wants, inside
    )
    value, info = found.value, found.info
    if info.plan is not None:
        real = blocks.inside_s.unsqueeze(-1) & blocks.inside_t.unsqueeze(-2)
        flat = (blocks.rows_s.unsqueeze(-1) * len(x_t) + blocks.rows_t.unsqueeze(-2))[real]
        plan = x_s.new_zeros(len(x_s) * len(x_t)).index_put_((flat,), info.plan[real])
        info.plan = plan.view(len(x_s), len(x_t))
    to_s = to_t = None
    if by_class_s is not None:
        to_s = torch.zeros_like(x_s)
        to_s[blocks.rows_s[blocks.inside_s]] = by_class_s[blocks.inside_s]
    if by_class_t is not None:
        to_t = torch.zeros_like(x_t)
        to_t[blocks.rows_t[blocks.inside_t]] = by_class_t[blocks.inside_t]
    return value, to_s, to_t, info


def _one_by_one(
    x_s: Tensor, x_t: Tensor, cost: str, blocks: ClassBlocks, s: Settings, wants: tuple[bool, bool]
) -> Graded:
    value, joint = x_s.new_zeros(()), TransportInfo(reg=s.reg)
    to_s = torch.zeros_like(x_s) if wants[0] else None
    to_t = torch.zeros_like(x_t) if wants[1] else None
    if s.wants_plan:
        joint.plan = x_s.new_zeros(len(x_s), len(x_t))
    for k, mass in enumerate(blocks.mass.tolist()):
        in_s, in_t = blocks.inside_s[k], blocks.inside_t[k]
        rows, columns = blocks.rows_s[k][in_s], blocks.rows_t[k][in_t]
        a, b = blocks.a[k][in_s] / mass, blocks.b[k][in_t] / mass
        found, grad_s, grad_t = named_problem(x_s[rows], x_t[columns], cost, a, b, s, wants)
        value += mass * found.value
        if to_s is not None and grad_s is not None:
            to_s.index_copy_(0, rows, grad_s.mul_(mass))
        if to_t is not None and grad_t is not None:
            to_t.index_copy_(0, columns, grad_t.mul_(mass))
        if joint.plan is not None and found.info.plan is not None:
            joint.plan[rows.unsqueeze(1), columns] = mass * found.info.plan
        joint.iterations = max(joint.iterations, found.info.iterations)
        joint.error += mass * found.info.error
        joint.converged &= found.info.converged
    return value, to_s, to_t, joint
