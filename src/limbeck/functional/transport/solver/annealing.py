"""Tiny regularisations are approached from larger ones, where the plan is smooth and a few sweeps find it."""

from __future__ import annotations

from collections.abc import Iterator

_FROM = 150.0  # logit spans above this need it
_START = 20.0  # the span at which that starts
_NEARLY_A_MATCHING = 1e3  # above, the sweeps do not find what a hasty approach has missed


def is_annealed(span: float) -> bool:
    return _FROM < span < float("inf")


def default_tol(span: float, n: int) -> float:
    """The marginal error to stop at among ``n`` rows: 1e-2, or a tenth of a row's weight for a plan that is nearly a
    matching, where 1e-2 may be a whole row in the wrong place; the sharper the plan, the more its gradient makes of
    what is left, so that few rows are no excuse."""
    if not is_annealed(span):
        return 1e-2
    return min(1e-2 if span <= _NEARLY_A_MATCHING else 2e-4, 0.1 / n)


def stages(span: float) -> Iterator[tuple[float, float, int]]:
    """What the regularisation is multiplied by, what the potentials are multiplied by before the next stage, and how
    many sweeps to make; nothing where no annealing is needed.

    Potentials in units of the regularisation grow as it falls.
    """
    if span <= _NEARLY_A_MATCHING:
        sweeps, cooling = 3, 3.0
    else:
        sweeps, cooling = (6, 2.0) if span <= 10 * _NEARLY_A_MATCHING else (10, 1.5)
    heat = span / _START if is_annealed(span) else 1.0
    while heat > 1.0:
        cooler = max(heat / cooling, 1.0)
        yield heat, heat / cooler, sweeps
        heat = cooler
