"""Soft marginals in logarithms: the same answers as the scalings where those serve, and right ones where not."""

from __future__ import annotations

import pytest
import torch

from limbeck.functional.transport.entropic import dual_value
from limbeck.functional.transport.solver.annealing import is_annealed, stages
from limbeck.functional.transport.solver.log_domain import needs_logs, solve_in_logs
from limbeck.functional.transport.solver.sinkhorn import solve
from limbeck.functional.transport.solver.soft_marginals import inverse_price, kept, translation


def problem(size: float, n: int = 9, m: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    logits = -size * torch.rand(n, m, generator=g, dtype=torch.float64)
    return logits, torch.full((n,), 1 / n).double(), torch.full((m,), 1 / m).double()


@pytest.mark.parametrize("softness", [(0.9, 0.9), (0.5, 0.8), (1.0, 0.7), (0.6, 1.0)])
@pytest.mark.parametrize("size", [5.0, 60.0])
def test_as_the_scalings(size: float, softness: tuple[float, float]) -> None:
    logits, a, b = problem(size)
    options = {"tol": 1e-9, "max_iter": 20000, "softness": softness}
    plain = solve(logits.clone(), a, b, **options)
    in_logs = solve_in_logs(logits, a, b, span=size, **options)
    assert in_logs.converged
    torch.testing.assert_close(in_logs.plan(), plain.plan(), rtol=1e-6, atol=1e-9)
    values = [dual_value(s, a, b, softness) for s in (in_logs, plain)]
    torch.testing.assert_close(*values, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_nothing_is_carried_and_all_is_paid(size: float) -> None:
    logits, a, b = problem(size)
    logits -= size  # from one to two times the size
    softness = (10 / 11, 10 / 11)  # rho = 10 reg
    solved = solve_in_logs(logits, a, b, tol=1e-3, max_iter=1000, span=size, softness=softness)
    assert solved.converged
    assert solved.iterations < 20
    assert float(dual_value(solved, a, b, softness)) == pytest.approx(21.0, rel=1e-6)


def test_nan_ends_the_search() -> None:
    logits, a, b = problem(100.0)
    logits[1, 2] = torch.nan
    solved = solve_in_logs(logits, a, b, tol=1e-3, max_iter=1000, span=100.0, softness=(0.9, 0.9))
    assert solved.iterations == 1
    assert not solved.converged


def test_who_needs_logarithms() -> None:
    assert not needs_logs(200.0, (10 / 11, 10 / 11))  # costs of 20 at rho 1, reg 0.1
    assert needs_logs(2000.0, (10 / 11, 10 / 11))
    assert not needs_logs(1e9, (1.0, 1.0))  # hard marginals carry everything


@pytest.mark.parametrize("softness", [(0.5, 0.5), (1.0, 0.3), (0.3, 1.0)])
def test_the_translation_is_the_best(softness: tuple[float, float]) -> None:
    """No other constant makes the sum of the two prices larger."""
    g = torch.Generator().manual_seed(1)
    f, h = torch.randn(5, generator=g).double(), torch.randn(4, generator=g).double()
    a, b = torch.full((5,), 0.2).double(), torch.full((4,), 0.25).double()

    def worth(mass: torch.Tensor, potential: torch.Tensor, s: float) -> torch.Tensor:
        rho = 1 / inverse_price(s) if s < 1 else None
        return (
            (mass * potential).sum() if rho is None else (mass * torch.expm1(potential / -rho)).sum() * -rho
        )

    def total(c: torch.Tensor) -> float:
        return float(worth(a, f + c, softness[0]) + worth(b, h - c, softness[1]))

    c = translation(a.log(), f, b.log(), h, softness)
    assert total(c) > total(c + 0.01)
    assert total(c) > total(c - 0.01)
    masses = kept(a, f + c, softness[0]).sum(), kept(b, h - c, softness[1]).sum()
    torch.testing.assert_close(*masses)  # then both sides ask for the same mass


@pytest.mark.parametrize("span", [151.0, 999.0, 1e5, 1e9])
def test_stages_end_at_the_regularisation_asked_for(span: float) -> None:
    heats, product = [], 1.0
    for heat, growth, sweeps in stages(span):
        heats.append(heat)
        product *= growth
        assert sweeps >= 3
    assert heats[0] == pytest.approx(span / 20)
    assert heats == sorted(heats, reverse=True)
    assert product == pytest.approx(span / 20)


@pytest.mark.parametrize("span", [0.0, 150.0, float("inf"), float("nan")])
def test_no_stages(span: float) -> None:
    assert not is_annealed(span)
    assert not list(stages(span))
