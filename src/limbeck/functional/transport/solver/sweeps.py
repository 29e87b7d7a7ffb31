"""The sweeps over one kernel, or a batch of them: rows, then columns, past the exact update where that is faster."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.functional.transport.solver.group_balance import balanced_by_group
from limbeck.functional.transport.solver.relaxation import better_omega, past
from limbeck.functional.transport.solver.soft_marginals import is_soft, kept, translation
from limbeck.functional.transport.solver.vectors import Vector, times, total

_DRIFT = 1e12  # a scaling beyond this is absorbed into the kernel


class Sweeps:
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
        self.u: Vector = a
        self.v: Vector = b
        self._got = b
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

    def rows(self, v: Vector) -> Vector:
        return _update(self.a, times(self.kernel, v), self.softness[0], self.lift_s)

    def columns(self, u: Vector) -> Vector:
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

    def in_torch(self) -> Sweeps:
        """The state with tensors for scalings: itself."""
        return self

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
