r"""The solver of entropic transport: which ``u, v`` make ``diag(u) K diag(v)`` have the asked marginals.

One algorithm serves all: Sinkhorn's scaling on a pre-shifted kernel, with over-relaxation, absorption of the
scalings into the kernel when they outgrow the number format, an annealed start when the regularisation is tiny,
and a start balanced class by class when labels are known. Everything here runs without autograd.

Axis legend: n - student rows, m - teacher rows; leading axes, if any, number separate problems.
Logits are ``-cost / reg`` up to a constant; shifts are potentials in units of reg that were taken into the
kernel, ``K = exp(logits + shift_s + shift_t)``.
Source: Cuturi, NeurIPS 2013; over-relaxation: Thibault et al., Algorithms 2021, arXiv 1711.01851; absorption:
Schmitzer, SISC 2019, arXiv 1610.06519; the two-level start is our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.functional.transport.solver.annealing import default_tol, is_annealed, stages
from limbeck.functional.transport.solver.group_balance import balanced_by_group
from limbeck.functional.transport.solver.light import LightSweeps
from limbeck.functional.transport.solver.sweeps import Sweeps
from limbeck.functional.transport.solver.vectors import is_light, times

DEFAULT_TOL = 1e-2
FLOOR = 1e-20  # stands for a weight of zero: what the sweeps make of it stays inside float32
_SAFE_SPAN = 40.0  # exp(40) leaves room for the scalings in float32


@dataclass
class Scaling:
    """A solved problem: the plan is ``diag(u) kernel diag(v)``, the potentials (in reg) ``log u + shift_s``."""

    kernel: Tensor
    u: Tensor
    v: Tensor
    shift_s: Tensor | None
    shift_t: Tensor | None
    iterations: int
    error: float
    converged: bool
    tol: float

    def plan(self) -> Tensor:
        return (self.kernel * self.u.unsqueeze(-1)).mul_(self.v.unsqueeze(-2))


def potentials(solved: Scaling, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """In units of reg, against ``a b``: the plan is ``a b exp(f + g - cost / reg)``."""
    f, g = (solved.u / a).log_(), (solved.v / b).log_()
    if solved.shift_s is not None and solved.shift_t is not None:
        return f + solved.shift_s, g + solved.shift_t
    return f, g


def needs_shifts(span: float) -> bool:
    """Whether the logits differ too much for their exponentials to be a kernel as they are."""
    return not span <= _SAFE_SPAN


def solve(
    logits: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    tol: float | None,
    max_iter: int,
    span: float = float("inf"),
    extent: tuple[float, float] | None = None,
    softness: tuple[float, float] = (1.0, 1.0),
    groups: tuple[Tensor, Tensor] | None = None,
    start: Tensor | None = None,
    keep_logits: bool = True,
) -> Scaling:
    """Scale ``exp(logits)`` to row sums ``a`` and column sums ``b``.

    Args:
        logits: ``(..., n, m)``; overwritten by the kernel unless ``keep_logits`` (and never needed again).
        a, b: marginals, ``(..., n)`` and ``(..., m)``, > 0 (at least FLOOR).
        tol: stop when the L1 error of the column marginals, divided by the mass, is below (rows are exact). None
            is 1e-2, less where the problem needs an annealed start (``annealing.default_tol``).
        max_iter: most sweeps.
        span: a bound of max - min of the logits if one is known; small spans need no shift.
        extent: least and largest logit where they are known.
        softness: exponents of the row and column updates, 1 for a hard marginal, ``rho / (rho + reg)`` for a
            marginal held by ``rho * KL``.
        groups: class number of each row and of each column; starts with the mass balanced between classes.
        start: logarithm of a row scaling to start from, ``(..., n)``; the columns start from b when None.
    """
    shift_s = shift_t = None
    if not needs_shifts(span):
        kernel = logits.exp() if keep_logits else logits.exp_()
    else:
        low, high = extent or extent_of(logits)
        shift_s, shift_t = _first_shifts(logits, a, b, high - low)
        tol = default_tol(high - low, max(logits.shape[-2:])) if tol is None else tol
        kernel = kernel_of(logits, shift_s, shift_t)
    tol = DEFAULT_TOL if tol is None else tol
    light = groups is None and start is None and is_light(a, b, softness)
    state = (LightSweeps if light else Sweeps)(kernel, a, b, softness, tol, max_iter)
    if shift_s is not None and shift_t is not None:
        state.take_shifts(shift_s, shift_t)
    if start is not None:
        state.v = b / times(state.kernel_t, (start if shift_s is None else start - shift_s).exp())
    if groups is not None and softness == (1.0, 1.0) and kernel.dim() == 2:
        state.groups = groups
        state.v = balanced_by_group(kernel, state.v, a, b, *groups)
    while not state.run():
        state = state.in_torch()
        if logits is kernel:  # overwritten, but at so small a span nothing underflowed
            logits = kernel.log()
        _absorb(logits, state)
    state = state.in_torch()
    return Scaling(
        state.kernel, state.u, state.v,
        state.shift_s, state.shift_t,
        state.iterations, state.error, state.error <= tol, tol,
    )  # fmt: skip


def kernel_of(logits: Tensor, shift_s: Tensor, shift_t: Tensor) -> Tensor:
    return (logits + shift_s.unsqueeze(-1)).add_(shift_t.unsqueeze(-2)).exp_()


def extent_of(logits: Tensor) -> tuple[float, float]:
    """Least and largest logit."""
    low, high = logits.aminmax()
    return float(low), float(high)


def _first_shifts(logits: Tensor, a: Tensor, b: Tensor, span: float) -> tuple[Tensor, Tensor]:
    """Shifts after which each row and column has its largest kernel entry at 1; annealed for a tiny reg."""
    shift_s = -logits.amax(-1)
    shift_t = -(logits + shift_s.unsqueeze(-1)).amax(-2)
    if not is_annealed(span):
        return shift_s, shift_t
    log_a, log_b = a.log(), b.log()
    shift_t = torch.zeros_like(shift_t)
    for heat, growth, sweeps in stages(span):
        hot = logits / heat
        for _ in range(sweeps):
            shift_s = log_a - torch.logsumexp(hot + shift_t.unsqueeze(-2), -1)
            shift_t = log_b - torch.logsumexp(hot + shift_s.unsqueeze(-1), -2)
        shift_t = shift_t * growth
    shift_s = log_a - torch.logsumexp(logits + shift_t.unsqueeze(-2), -1)
    return shift_s, shift_t - log_b  # the sweeps start from v = b


def _absorb(logits: Tensor, state: Sweeps) -> None:
    """One sweep in the log domain that takes the scalings into the shifts; restarts ``state`` from ones."""
    log_v = torch.nan_to_num(state.v.log(), nan=0.0, posinf=80.0, neginf=-80.0)
    total = log_v if state.shift_t is None else state.shift_t + log_v
    log_a, log_b = state.a.log(), state.b.log()
    soft_s, soft_t = state.softness
    for _ in range(2):
        new_s = log_a - soft_s * torch.logsumexp(logits + total.unsqueeze(-2), -1)
        total = log_b - soft_t * torch.logsumexp(logits + new_s.unsqueeze(-1), -2)
    state.take(kernel_of(logits, new_s, total))
    state.u, state.v = torch.ones_like(state.u), torch.ones_like(state.v)
    state.take_shifts(new_s, total)
    state.iterations += 2
