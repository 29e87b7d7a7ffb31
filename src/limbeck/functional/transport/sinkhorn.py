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

DEFAULT_TOL = 1e-2
FLOOR = 1e-20  # stands for a weight of zero: what the sweeps make of it stays inside float32
_SAFE_SPAN = 40.0  # exp(40) leaves room for the scalings in float32
_DRIFT = 1e12  # a scaling beyond this is absorbed into the kernel
_ANNEALED_FROM = 150.0  # logit spans above this are approached from larger regularisation


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


def solve(
    logits: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    tol: float | None,
    max_iter: int,
    span: float = float("inf"),
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
            is 1e-2, but a tenth of a row's weight where the problem needs an annealed start: such a plan is
            nearly a matching, and an error of 1e-2 may be a whole row in the wrong place.
        max_iter: most sweeps.
        span: a bound of max - min of the logits if one is known; small spans need no shift.
        softness: exponents of the row and column updates, 1 for a hard marginal, ``rho / (rho + reg)`` for a
            marginal held by ``rho * KL``.
        groups: class number of each row and of each column; starts with the mass balanced between classes.
        start: logarithm of a row scaling to start from, ``(..., n)``; the columns start from b when None.
    """
    shift_s: Tensor | None = None
    shift_t: Tensor | None = None
    if span <= _SAFE_SPAN:
        kernel = logits.exp() if keep_logits else logits.exp_()
    else:
        shift_s, shift_t, annealed = _first_shifts(logits, a, b)
        if tol is None and annealed:
            tol = min(DEFAULT_TOL, 0.1 / max(logits.shape[-2:]))
        kernel = _kernel(logits, shift_s, shift_t)
    tol = DEFAULT_TOL if tol is None else tol
    state = _Sweeps(kernel, a, b, softness, tol, max_iter)
    if shift_s is not None and shift_t is not None:
        state.set_lifts(shift_s, shift_t)
    if start is not None:
        state.v = b / times(state.kernel_t, (start if shift_s is None else start - shift_s).exp())
    if groups is not None and softness == (1.0, 1.0) and kernel.dim() == 2:
        state.groups = groups
        state.v = balanced_by_group(kernel, state.v, a, b, *groups)
    while not state.run():
        if logits is kernel:  # overwritten, but at so small a span nothing underflowed
            logits = kernel.log()
        shift_s, shift_t = _absorb(logits, state, shift_s, shift_t)
    return Scaling(
        state.kernel, state.u, state.v,
        shift_s, shift_t,
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
        # exp((softness - 1) shift): what the shifts already hold of a soft update
        self.lift_s: Tensor | None = None
        self.lift_t: Tensor | None = None
        self.u, self.v = a, b
        self.mass = 1.0 if softness == (1.0, 1.0) else float(a.sum())  # hard marginals sum to one
        self.iterations, self.error, self.omega = 0, float("inf"), 1.3
        self.groups: tuple[Tensor, Tensor] | None = None
        self._errors: list[float] = []
        self._window = 4
        self._fresh = True  # no row update yet that over-relaxation could build on

    def take(self, kernel: Tensor) -> None:
        self.kernel, self.kernel_t = kernel, kernel.mT

    def set_lifts(self, shift_s: Tensor, shift_t: Tensor) -> None:
        soft_s, soft_t = self.softness
        self.lift_s = None if soft_s == 1.0 else ((soft_s - 1.0) * shift_s).exp()
        self.lift_t = None if soft_t == 1.0 else ((soft_t - 1.0) * shift_t).exp()
        self._fresh = True

    def rows(self, v: Tensor) -> Tensor:
        return _update(self.a, times(self.kernel, v), self.softness[0], self.lift_s)

    def columns(self, u: Tensor) -> Tensor:
        """The column scaling that suits ``u``; notes in ``error`` which part of the mass it would move."""
        got = times(self.kernel_t, u)
        exact = _update(self.b, got, self.softness[1], self.lift_t)
        self.error = float(total((self.v - exact).abs_(), got)) / self.mass
        return exact

    def run(self) -> bool:
        while self.iterations < self.max_iter:
            self.iterations += 1
            exact_s = self.rows(self.v)
            relaxed = not self._fresh
            self.u = _over(exact_s, self.u, self.omega) if relaxed else exact_s
            self._fresh = False
            exact_t = self.columns(self.u)
            if relaxed and self.error <= self.tol:  # give back exact rows and look again
                self.u = exact_s
                exact_t = self.columns(exact_s)
            if self.error <= self.tol:
                return True
            if not self.error < float("inf"):
                return self._broken()
            self._tune()
            self.v = _over(exact_t, self.v, self.omega)
            if self.groups is not None and self._stalls():
                self.v = balanced_by_group(self.kernel, self.v, self.a, self.b, *self.groups)
                self._fresh = True
                self._errors.clear()
            if self.iterations % 5 == 0 and self._drifted():
                return False
        self.u = self.rows(self.v)
        self.columns(self.u)
        return True

    def _tune(self) -> None:
        """Now and then (after 4 sweeps, then less and less often) set the over-relaxation from the rate seen.

        SOR theory: an error that shrinks by ``rate`` under ``omega`` belongs to a plain rate with
        ``(rate + omega - 1)^2 = rate * omega^2 * plain``, whose best omega is ``2 / (1 + sqrt(1 - plain))``.
        """
        self._errors.append(self.error)
        if len(self._errors) < self._window:
            return
        half = self._window // 2
        rate = (self._errors[-1] / self._errors[-1 - half]) ** (1 / half)
        self._errors.clear()
        self._window = min(self._window * 3 // 2, 48)
        if rate >= 1.0:
            self.omega = 1.0 if self.omega < 1.05 or rate > 1.05 else 0.5 * (1.0 + self.omega)
        elif rate > self.omega - 1.0:
            plain = min((rate + self.omega - 1.0) ** 2 / (rate * self.omega**2), 0.99999)
            self.omega = min(2.0 / (1.0 + (1.0 - plain) ** 0.5), 1.8 if self.iterations < 60 else 1.98)

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


def _over(exact: Tensor, old: Tensor, omega: float) -> Tensor:
    """``old * (exact / old) ** omega``: past the exact update when omega > 1."""
    if omega == 1.0:
        return exact
    return (exact / old).log_().mul_(omega - 1.0).exp_().mul_(exact)  # several times faster than pow


def total(x: Tensor, y: Tensor) -> Tensor:
    """The sum of all products; for the short vectors here ``dot`` costs a fraction of ``(x * y).sum()``."""
    return torch.dot(x, y) if x.dim() == 1 else (x * y).sum()


def _kernel(logits: Tensor, shift_s: Tensor, shift_t: Tensor) -> Tensor:
    return (logits + shift_s.unsqueeze(-1)).add_(shift_t.unsqueeze(-2)).exp_()


def _first_shifts(logits: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Shifts after which each row and column has its largest kernel entry at 1; annealed for a tiny reg."""
    shift_s = -logits.amax(-1)
    shift_t = -(logits + shift_s.unsqueeze(-1)).amax(-2)
    low, high = logits.aminmax()
    span = float(high - low)
    if not _ANNEALED_FROM < span < float("inf"):
        return shift_s, shift_t, False
    heat = span / 20.0  # start where the kernel is smooth
    log_a, log_b = a.log(), b.log()
    shift_t = torch.zeros_like(shift_t)
    while heat > 1.0:
        hot = logits / heat
        for _ in range(3):
            shift_s = log_a - torch.logsumexp(hot + shift_t.unsqueeze(-2), -1)
            shift_t = log_b - torch.logsumexp(hot + shift_s.unsqueeze(-1), -2)
        cooler = max(heat / 3.0, 1.0)
        shift_t = shift_t * (heat / cooler)
        heat = cooler
    shift_s = log_a - torch.logsumexp(logits + shift_t.unsqueeze(-2), -1)
    return shift_s, shift_t - log_b, True  # the sweeps start from v = b


def _absorb(
    logits: Tensor, state: _Sweeps, shift_s: Tensor | None, shift_t: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One sweep in the log domain that takes the scalings into the shifts; restarts ``state`` from ones."""
    log_v = torch.nan_to_num(state.v.log(), nan=0.0, posinf=80.0, neginf=-80.0)
    total = log_v if shift_t is None else shift_t + log_v
    log_a, log_b = state.a.log(), state.b.log()
    soft_s, soft_t = state.softness
    for _ in range(2):
        new_s = log_a - soft_s * torch.logsumexp(logits + total.unsqueeze(-2), -1)
        total = log_b - soft_t * torch.logsumexp(logits + new_s.unsqueeze(-1), -2)
    state.take(_kernel(logits, new_s, total))
    state.u, state.v = torch.ones_like(state.u), torch.ones_like(state.v)
    state.set_lifts(new_s, total)
    state.iterations += 2
    return new_s, total


def balanced_by_group(
    kernel: Tensor, v: Tensor, a: Tensor, b: Tensor, groups_s: Tensor, groups_t: Tensor
) -> Tensor:
    """Scale ``v`` so that the mass between classes is right after the first sweep.

    Sinkhorn's slow modes are mass that sits in the wrong class; the C x C plan between classes shows it, and
    is balanced at next to no cost.
    """
    _, group_s = groups_s.unique(return_inverse=True)
    _, group_t = groups_t.unique(return_inverse=True)
    ones_s = torch.nn.functional.one_hot(group_s).to(v.dtype)
    ones_t = torch.nn.functional.one_hot(group_t).to(v.dtype)
    spread = kernel @ (ones_t * v.unsqueeze(-1))  # (n, m) @ (m, C)
    u = a / spread.sum(-1)
    coarse = (ones_s * u.unsqueeze(-1)).mT @ spread
    want_s, want_t = ones_s.mT @ a, ones_t.mT @ b
    factor_t = torch.ones_like(want_t)
    for _ in range(100):
        factor_s = want_s / (coarse @ factor_t)
        new = want_t / (coarse.mT @ factor_s)
        moved = float((new / factor_t - 1).abs().max())
        factor_t = new
        if not moved > 1e-3:
            break
    scaled = v * (ones_t @ factor_t)
    return scaled if bool(torch.isfinite(scaled).all()) else v
