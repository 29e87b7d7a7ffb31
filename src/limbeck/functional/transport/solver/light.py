"""The sweeps of a small problem with hard marginals on the processor, where calls, not numbers, take the time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limbeck.functional.transport.solver.sweeps import Sweeps
from limbeck.functional.transport.solver.vectors import Vector


class LightSweeps(Sweeps):
    """As :class:`~limbeck.functional.transport.solver.sweeps.Sweeps`, with the scalings as arrays, and room for the
    products that is taken once."""

    def take(self, kernel: Tensor) -> None:
        super().take(kernel)
        wide = (lambda x: x) if kernel.dim() == 2 else (lambda x: x.unsqueeze(-1))
        sums_s, sums_t = torch.empty_like(self.a), torch.empty_like(self.b)
        self._room = wide(sums_s), wide(sums_t)
        self._sums = sums_s.numpy(), sums_t.numpy()
        self._marginals = self.a.numpy(), self.b.numpy()

    def run(self) -> bool:
        self.u, self.v = np.asarray(self.u), np.asarray(self.v)
        with np.errstate(all="ignore"):  # overflow is seen by the error, as in torch
            return super().run()

    def rows(self, v: Vector) -> Vector:
        self._product(self.kernel, v, 0)
        return self._marginals[0] / self._sums[0]

    def columns(self, u: Vector) -> Vector:
        self._product(self.kernel_t, u, 1)
        exact = self._marginals[1] / self._sums[1]
        off = np.subtract(self.v, exact)
        self.error = float(np.vdot(np.abs(off, out=off), self._sums[1]))  # hard marginals sum to one
        return exact

    def _product(self, kernel: Tensor, v: Vector, side: int) -> None:
        if kernel.dim() == 2:
            torch.mv(kernel, torch.from_numpy(v), out=self._room[side])
        else:
            torch.bmm(kernel, torch.from_numpy(v).unsqueeze(-1), out=self._room[side])

    def in_torch(self) -> Sweeps:
        """The state as it is, to go on with where the scalings must be absorbed."""
        state = Sweeps(self.kernel, self.a, self.b, self.softness, self.tol, self.max_iter)
        state.u, state.v = torch.from_numpy(self.u), torch.from_numpy(self.v)
        state.shift_s, state.shift_t = self.shift_s, self.shift_t
        state.iterations, state.error, state.omega = self.iterations, self.error, self.omega
        state._errors, state._window = self._errors, self._window
        return state
