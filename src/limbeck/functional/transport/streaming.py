"""Transport of a student batch to a teacher too large to hold: its rows come in blocks, pass after pass.

While all logits fit (256 MB), one pass computes them, the dense solver runs, and a second pass makes the gradient.
Beyond that nothing of size m is kept but one potential per row: a sweep is one pass, because the columns of a block
see every student row, so each block is updated and at once added to the row sums.

Axis legend: n - student rows, k - rows of a block, m - all teacher rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional import costs
from limbeck.functional.costs import Clouds
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_gradient
from limbeck.functional.precision import check_finite, narrowed
from limbeck.functional.transport.entropic import (
    Settings,
    TransportInfo,
    answer,
    check_digits,
    in_digits,
    in_enough_digits,
    marginal,
)
from limbeck.functional.transport.solver.annealing import is_annealed, stages
from limbeck.functional.transport.solver.sinkhorn import DEFAULT_TOL, extent_of, needs_shifts
from limbeck.functional.warnings_once import warn_once

TeacherBlocks = Callable[[], Iterable[Any]]
DENSE_BYTES = 256 * 2**20
OMEGA = 1.4


@dataclass
class _Bank:
    """The blocks made ready against one student batch; ``sizes`` counts their rows."""

    x_s: Tensor
    blocks: TeacherBlocks
    cost: str
    validate: bool
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # only lengths are looked at, so a bank that maps its files reads nothing here
        self.sizes = [len(rows) for rows in self._rows() if len(rows)]

    def _rows(self) -> Iterator[Tensor]:
        for block in self.blocks():
            yield block if isinstance(block, Tensor) else block.features  # a teacher's output holds features

    def clouds(self) -> Iterator[tuple[slice, Clouds]]:
        """One pass: the columns of a block and its clouds. Every pass must bring the same rows."""
        start = k = 0
        for rows in self._rows():
            if not len(rows):
                continue
            costs.check_clouds(self.x_s, rows)
            if k == len(self.sizes) or self.sizes[k] != len(rows):
                break
            rows = rows.to(device=self.x_s.device, dtype=self.x_s.dtype)
            if self.validate:
                check_finite(rows, f"x_t (block from row {start})")
            yield slice(start, start + len(rows)), costs.prepare(self.x_s, rows, self.cost)
            start, k = start + len(rows), k + 1
        if start != sum(self.sizes):
            raise DataError(
                f"the teacher's blocks changed between passes ({sum(self.sizes)} rows, then {start} alike); give a "
                "callable that yields the same blocks at every call, not one generator"
            )


def bank_problem(
    x_s: Tensor,
    blocks: TeacherBlocks,
    cost: str,
    weights_s: Tensor | None,
    weights_t: Tensor | None,
    s: Settings,
    validate: bool,
) -> tuple[Tensor, TransportInfo]:
    """Value, with its gradient to ``x_s`` attached, and info of the transport to the rows of ``blocks``."""
    if not callable(blocks):
        raise ConfigError("x_t must be a tensor or a callable that yields blocks of rows anew at every call")
    dtype = costs.computing_dtype(x_s)
    wants = wants_gradient(x_s)
    if s.reg_scale == "median":
        raise ConfigError("reg_scale='median' needs the teacher as a tensor; give reg in cost units")
    with torch.no_grad():
        bank = _Bank(x_s.detach().to(dtype), blocks, cost, validate)
        m = sum(bank.sizes)
        if not m or not len(x_s):
            warn_once(
                "transport_cost: a side has no rows, so there is nothing to transport and the cost is 0"
            )
            return nothing_to_compare(x_s, dtype), TransportInfo(reg=s.reg)
        a = marginal(weights_s, len(x_s), bank.x_s, dtype, "weights_s")
        b = marginal(weights_t, m, bank.x_s, dtype, "weights_t")
        fits = len(x_s) * m * bank.x_s.element_size() <= DENSE_BYTES

        def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor | None, TransportInfo]:
            bank.x_s = bank.x_s.to(dtype)
            return (_dense if fits else _in_passes)(bank, in_digits(a, dtype), in_digits(b, dtype), s, wants)

        value, gradient, info = in_enough_digits(problem, dtype)
    info.plan = narrowed(info.plan, dtype)
    value = (value + costs.offset(cost)).to(dtype)
    return with_gradient(value, x_s, narrowed(gradient, dtype), "transport_cost"), info


def _dense(
    bank: _Bank, a: Tensor, b: Tensor, s: Settings, wants: bool
) -> tuple[Tensor, Tensor | None, TransportInfo]:
    logits = bank.x_s.new_empty(len(a), len(b))
    for columns, clouds in bank.clouds():
        logits[:, columns] = costs.negative_cost(clouds, 1.0 / s.reg)
    found = answer(logits, a, b, s.reg, s, span=costs.span_bound(bank.cost) / s.reg)
    gradient = None
    if wants:
        gradient = torch.zeros_like(bank.x_s)
        for columns, clouds in bank.clouds():
            gradient += costs.pull_back(
                clouds, found.weight[:, columns], found.u, found.v[columns], last=True
            )
    return found.value, gradient, found.info


def _in_passes(
    bank: _Bank, a: Tensor, b: Tensor, s: Settings, wants: bool
) -> tuple[Tensor, Tensor | None, TransportInfo]:
    if s.wants_plan:
        raise ConfigError(
            "the plan against this many teacher rows does not fit; leave out return_info='plan'"
        )
    log_a = a.log()
    log_b = list(b.log().split(bank.sizes))
    phi, psi = log_a.clone(), [part.clone() for part in log_b]
    tol, sweeps = s.tol or DEFAULT_TOL, 0
    extents: list[tuple[float, float]] = []
    while sweeps < s.max_iter:
        sums = _sweep(bank, phi, psi, log_b, s.reg, OMEGA if sweeps else 1.0, None if sweeps else extents)
        if not sweeps and (ahead := sum(n for *_, n in stages(_span(extents)))) in range(1, s.max_iter):
            phi = _annealed(bank, log_a, psi, log_b, s.reg, _span(extents))
            sums = _sweep(bank, phi, psi, log_b, s.reg, 1.0)
            sweeps = ahead
        sweeps += 1
        error = float(((phi + sums).exp() - a).abs().sum())
        if not error > tol:
            break
        phi = phi + (OMEGA if sweeps > 1 else 1.0) * (log_a - sums - phi)
    return _valued(bank, phi, a, log_b, s, wants, sweeps, span=_span(extents))


def _sweep(
    bank: _Bank,
    phi: Tensor,
    psi: list[Tensor],
    log_b: list[Tensor],
    reg: float,
    omega: float,
    extents: list[tuple[float, float]] | None = None,
) -> Tensor:
    """Move every block's potential in ``psi`` past its update by ``omega``; the log row sums that result.

    Appends each block's least and largest logit to ``extents``, and then raises TooCoarse for the first block whose
    costs are too many times ``reg``.
    """
    sums = torch.full_like(phi, -torch.inf)
    for j, (_, clouds) in enumerate(bank.clouds()):
        logits = costs.negative_cost(clouds, 1.0 / reg)
        if extents is not None and needs_shifts(costs.span_bound(bank.cost) / reg):
            extents.append(extent_of(logits))
            check_digits(*extents[-1], logits)
        exact = log_b[j] - torch.logsumexp(logits + phi.unsqueeze(-1), 0)
        psi[j] = psi[j] + omega * (exact - psi[j])
        sums = torch.logaddexp(sums, torch.logsumexp(logits.add_(psi[j]), 1))
    return sums


def _span(extents: list[tuple[float, float]]) -> float:
    return max(high for _, high in extents) - min(low for low, _ in extents) if extents else 0.0


def _annealed(
    bank: _Bank, log_a: Tensor, psi: list[Tensor], log_b: list[Tensor], reg: float, span: float
) -> Tensor:
    """Row potentials to start from."""
    phi = log_a.clone()
    for heat, growth, sweeps in stages(span):
        for _ in range(sweeps):
            phi = log_a - _sweep(bank, phi, psi, log_b, reg * heat, 1.0)
        phi = log_a + (phi - log_a) * growth
    return phi


def _valued(
    bank: _Bank,
    phi: Tensor,
    a: Tensor,
    log_b: list[Tensor],
    s: Settings,
    wants: bool,
    sweeps: int,
    span: float,
) -> tuple[Tensor, Tensor | None, TransportInfo]:
    """Value and gradient at ``phi`` with exact columns: one pass for ``dual``, two for ``sharp``."""
    ones = torch.ones_like(phi)
    total = phi.new_zeros(())
    rows, cost_s, rhs = torch.zeros_like(phi), torch.zeros_like(phi), torch.zeros_like(phi)
    schur = torch.diag(torch.zeros_like(phi))
    gradient = torch.zeros_like(bank.x_s) if wants else None
    for clouds, logits, plan, psi in _plans(bank, phi, log_b, s.reg):
        column = plan.sum(0)
        rows += plan.sum(1)
        if s.value == "dual":
            total += (column * (psi - column.log())).sum()
            if gradient is not None:
                gradient += costs.pull_back(clouds, plan, ones, torch.ones_like(column))
            continue
        weighted = logits * plan
        cost_s -= weighted.sum(1)
        schur -= (plan / column) @ plan.T
        rhs += plan @ (weighted.sum(0) / column)
    error = float((rows - a).abs().sum())
    info = TransportInfo(sweeps, error, error <= 1.5 * (s.tol or DEFAULT_TOL), s.reg)
    if s.value == "dual":
        return (total + (a * (phi - a.log())).sum()) * s.reg, gradient, info
    held, alpha = is_annealed(span) and not info.converged, phi - a.log()  # held: as in adjoint.py
    if not held:
        # the adjoint system of adjoint.py, columns eliminated; singular along the constant, hence the added ones
        schur.diagonal().add_(rows)
        alpha = torch.linalg.lstsq(schur + a.mean(), (cost_s + rhs).unsqueeze(-1)).solution.squeeze(-1)
    value = cost_s.sum() + (alpha * (a - rows)).sum()
    if gradient is not None:
        for clouds, logits, plan, _ in _plans(bank, phi, log_b, s.reg):
            weight = plan if held else _adjoint(logits, plan, alpha)
            gradient += costs.pull_back(clouds, weight, ones, torch.ones_like(plan[0]))
    return value * s.reg, gradient, info


def _adjoint(logits: Tensor, plan: Tensor, alpha: Tensor) -> Tensor:
    """The weight of the gradient to a block's costs; uses up ``logits``."""
    beta = -((logits * plan).sum(0) + alpha @ plan) / plan.sum(0)
    return logits.add_((alpha + 1.0).unsqueeze(-1)).add_(beta).mul_(plan)


def _plans(
    bank: _Bank, phi: Tensor, log_b: list[Tensor], reg: float
) -> Iterator[tuple[Clouds, Tensor, Tensor, Tensor]]:
    """Clouds, logits, plan and column potentials of each block, with exact column sums."""
    for j, (_, clouds) in enumerate(bank.clouds()):
        logits = costs.negative_cost(clouds, 1.0 / reg)
        psi = log_b[j] - torch.logsumexp(logits + phi.unsqueeze(-1), 0)
        yield clouds, logits, (logits + phi.unsqueeze(-1)).add_(psi).exp_(), psi
