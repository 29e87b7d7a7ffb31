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
from limbeck.functional.transport.solver.relaxation import better_omega, past
from limbeck.functional.transport.solver.soft_marginals import is_soft, kept, translation

DEFAULT_TOL = 1e-2
FLOOR = 1e-20  # stands for a weight of zero: what the sweeps make of it stays inside float32
_SAFE_SPAN = 40.0  # exp(40) leaves room for the scalings in float32
_DRIFT = 1e12  # a scaling beyond this is absorbed into the kernel


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


def times(kernel: Tensor, v: Tensor) -> Tensor:
    """``kernel @ v`` for one matrix and vector or a batch of them."""
    return kernel.mv(v) if kernel.dim() == 2 else torch.bmm(kernel, v.unsqueeze(-1)).squeeze(-1)


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
    state = _Sweeps(kernel, a, b, softness, tol, max_iter)
    if shift_s is not None and shift_t is not None:
        state.take_shifts(shift_s, shift_t)
    if start is not None:
        state.v = b / times(state.kernel_t, (start if shift_s is None else start - shift_s).exp())
    if groups is not None and softness == (1.0, 1.0) and kernel.dim() == 2:
        state.groups = groups
        state.v = balanced_by_group(kernel, state.v, a, b, *groups)
    while not state.run():
        if logits is kernel:  # overwritten, but at so small a span nothing underflowed
            logits = kernel.log()
        _absorb(logits, state)
    return Scaling(
        state.kernel, state.u, state.v,
        state.shift_s, state.shift_t,
        state.iterations, state.error, state.error <= tol, tol,
    )  # fmt: skip


class _Sweeps:
    """The running state: ``run`` sweeps until done (True) or until the scalings must be absorbed (False)."""

    def __init__(
        self, kernel: Tensor, a: Tensor, b: Tensor, softness: tuple[float, float], tol: float, max_iter: int
    ) -> None:
        self.a, self.b = a, b
        self.take(kernel)
        self.softness, self.tol, self.max_iter = softness, tol, max_iter
        self.shift_s: Tensor | None = None
        self.shift_t: Tensor | None = None
        # exp((softness - 1) shift): what the shifts already hold of a soft update
        self.lift_s: Tensor | None = None
        self.lift_t: Tensor | None = None
        self.u, self.v, self._got = a, b, b
        self.mass = 1.0 if softness == (1.0, 1.0) else float(a.sum())  # hard marginals sum to one
        self.iterations, self.error, self.omega = 0, float("inf"), 1.3
        self.groups: tuple[Tensor, Tensor] | None = None
        self._errors: list[float] = []
        self._window = 4
        self._fresh = True  # no row update yet that over-relaxation could build on

    def take(self, kernel: Tensor) -> None:
        self.kernel, self.kernel_t = kernel, kernel.mT

    def take_shifts(self, shift_s: Tensor, shift_t: Tensor) -> None:
        soft_s, soft_t = self.softness
        self.shift_s, self.shift_t = shift_s, shift_t
        self.lift_s = None if soft_s == 1.0 else ((soft_s - 1.0) * shift_s).exp()
        self.lift_t = None if soft_t == 1.0 else ((soft_t - 1.0) * shift_t).exp()
        self._fresh = True

    def rows(self, v: Tensor) -> Tensor:
        return _update(self.a, times(self.kernel, v), self.softness[0], self.lift_s)

    def columns(self, u: Tensor) -> Tensor:
        """The column scaling that suits ``u``; notes in ``error`` which part of the mass it would move."""
        self._got = got = times(self.kernel_t, u)
        exact = _update(self.b, got, self.softness[1], self.lift_t)
        self.error = float(total((self.v - exact).abs_(), got)) / self.mass
        return exact

    def run(self) -> bool:
        while self.iterations < self.max_iter:
            self.iterations += 1
            exact_s = self.rows(self.v)
            relaxed = not self._fresh
            self.u = past(exact_s, self.u, self.omega) if relaxed else exact_s
            self._fresh = False
            exact_t = self.columns(self.u)
            if relaxed and self.error <= self.tol:  # give back exact rows and look again
                self.u = exact_s
                exact_t = self.columns(exact_s)
            if self.error <= self.tol:
                if self._settled():
                    return True
                self._errors.clear()
                continue
            if not self.error < float("inf"):
                return self._broken()
            self._tune()
            self.v = past(exact_t, self.v, self.omega)
            if self.groups is not None and self._stalls():
                self.v = balanced_by_group(self.kernel, self.v, self.a, self.b, *self.groups)
                self._fresh = True
                self._errors.clear()
            if self.iterations % 5 == 0 and self._drifted():
                return False
        self.u = self.rows(self.v)
        self.columns(self.u)
        self._settled()
        return True

    def _settled(self) -> bool:
        """Whether soft columns also have the sums that their potentials ask for.

        (A sweep that moves next to no mass says nothing of potentials where next to none is carried.) If they have not,
        a constant goes from one potential to the other, which changes no plan.
        """
        if not is_soft(self.softness):
            return True
        g = (self.v / self.b).log_()
        if self.shift_t is not None:
            g.add_(self.shift_t)
        unmet = torch.addcmul(kept(self.b, g, self.softness[1]), self.v, self._got, value=-1).abs_().sum()
        if not float(unmet) > 2 * self.tol * self.mass:
            return True
        f = (self.u / self.a).log_()
        if self.shift_s is not None:
            f.add_(self.shift_s)
        c = translation(self.a.log(), f, self.b.log(), g, self.softness)
        zero = torch.zeros_like(c)
        self.take_shifts(
            (zero if self.shift_s is None else self.shift_s) + c,
            (zero if self.shift_t is None else self.shift_t) - c,
        )
        return False

    def _tune(self) -> None:
        """Now and then (after 4 sweeps, then less and less often) set the over-relaxation from the rate seen."""
        self._errors.append(self.error)
        if len(self._errors) < self._window:
            return
        self.omega = better_omega(self.omega, self._errors, self.iterations)
        self._errors.clear()
        self._window = min(self._window * 3 // 2, 48)

    def _stalls(self) -> bool:
        """Whether three sweeps have not even halved the error: time to look at the classes again."""
        return len(self._errors) >= 4 and self.error > 0.5 * self._errors[-4]

    def _drifted(self) -> bool:
        high = max(float(self.u.max()), float(self.v.max()))
        return not high < _DRIFT

    def _broken(self) -> bool:
        """Overflow can be mended by absorption, NaN in the kernel cannot."""
        return not bool(torch.isfinite(self.kernel).all())


def _update(marginal: Tensor, got: Tensor, softness: float, lift: Tensor | None) -> Tensor:
    """``marginal / got`` for a hard marginal; ``marginal * got^-softness`` for a soft one."""
    if softness == 1.0:
        return marginal / got
    soft = got.pow(-softness).mul_(marginal)
    return soft if lift is None else soft.mul_(lift)


def total(x: Tensor, y: Tensor) -> Tensor:
    """The sum of all products; for the short vectors here ``dot`` costs a fraction of ``(x * y).sum()``."""
    return torch.dot(x, y) if x.dim() == 1 else (x * y).sum()


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


def _absorb(logits: Tensor, state: _Sweeps) -> None:
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
