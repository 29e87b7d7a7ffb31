"""Over-relaxation of the sweeps: how far past an exact update to go."""

from __future__ import annotations

import numpy as np

from limbeck.functional.transport.solver.vectors import Vector


def better_omega(omega: float, errors: list[float], sweeps: int) -> float:
    """The over-relaxation that suits how the last ``errors`` shrank.

    SOR theory: an error that shrinks by ``rate`` under ``omega`` belongs to a plain rate with
    ``(rate + omega - 1)^2 = rate * omega^2 * plain``, whose best omega is ``2 / (1 + sqrt(1 - plain))``.
    """
    half = len(errors) // 2
    rate = (errors[-1] / errors[-1 - half]) ** (1 / half)
    if rate >= 1.0:
        return 1.0 if omega < 1.05 or rate > 1.05 else 0.5 * (1.0 + omega)
    if rate <= omega - 1.0:
        return omega
    plain = min((rate + omega - 1.0) ** 2 / (rate * omega**2), 0.99999)
    return min(2.0 / (1.0 + (1.0 - plain) ** 0.5), 1.8 if sweeps < 60 else 1.98)


def past(exact: Vector, old: Vector, omega: float) -> Vector:
    """``old * (exact / old) ** omega``: past the exact update when omega > 1."""
    if omega == 1.0:
        return exact
    if isinstance(exact, np.ndarray):
        ratio = exact / old
        return np.multiply(np.power(ratio, omega - 1.0, out=ratio), exact, out=ratio)
    return (exact / old).log_().mul_(omega - 1.0).exp_().mul_(exact)  # several times faster than pow
