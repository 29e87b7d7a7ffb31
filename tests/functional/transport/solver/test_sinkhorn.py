"""The solver alone: marginals, batches, absorption, potentials."""

from __future__ import annotations

import pytest
import torch

from limbeck.functional.transport.solver.group_balance import balanced_by_group
from limbeck.functional.transport.solver.sinkhorn import FLOOR, solve


def problem(n=9, m=7, reg=0.1, batch=()):
    g = torch.Generator().manual_seed(0)
    logits = -torch.rand(*batch, n, m, generator=g, dtype=torch.float64) / reg
    a = torch.full((*batch, n), 1 / n, dtype=torch.float64)
    return logits, a, torch.full((*batch, m), 1 / m, dtype=torch.float64)


def solved(logits, a, b, **options):
    return solve(logits.clone(), a, b, **{"tol": 1e-10, "max_iter": 20000, **options})


@pytest.mark.parametrize("reg", [1.0, 0.05, 0.002])
def test_marginals(reg):
    logits, a, b = problem(reg=reg)
    s = solved(logits, a, b, tol=1e-8)
    assert s.converged
    torch.testing.assert_close(s.plan().sum(1), a)
    assert float((s.plan().sum(0) - b).abs().sum()) <= 1e-8


def test_a_batch_is_its_problems():
    logits, a, b = problem(batch=(3,))
    together = solved(logits, a / 3, b / 3).plan()
    for k in range(3):
        torch.testing.assert_close(
            3 * together[k], solved(logits[k], a[k], b[k]).plan(), rtol=1e-6, atol=1e-10
        )


@pytest.mark.parametrize("span", [30.0, float("inf")])
@pytest.mark.parametrize("keep", [True, False])
def test_scalings_that_outgrow_float32_are_absorbed(span, keep):
    """Weights over twelve orders of magnitude make the scalings as large."""
    g = torch.Generator().manual_seed(0)
    logits = -30 * torch.rand(6, 6, generator=g)
    a = torch.logspace(-12, 0, 6)
    a, b = a / a.sum(), a.flip(0) / a.sum()
    expected = solved(logits.double(), a.double(), b.double()).plan()
    s = solved(logits, a, b, span=span, keep_logits=keep, tol=1e-5)
    torch.testing.assert_close(s.plan().double(), expected, rtol=1e-2, atol=1e-5)


def test_shifts_and_scalings_are_the_potentials():
    logits, a, b = problem(reg=0.01)
    s = solved(logits, a, b)
    phi = s.u.log() + s.shift_s
    psi = s.v.log() + s.shift_t
    torch.testing.assert_close((logits + phi[:, None] + psi).exp(), s.plan())


@pytest.mark.full
def test_a_soft_marginal_gives_way():
    logits, a, b = problem(reg=0.1)
    gaps = []
    for softness in (0.1, 0.5, 0.9, 1.0):
        plan = solved(logits, a, b, softness=(1.0, softness)).plan()
        torch.testing.assert_close(plan.sum(1), a)
        gaps.append(float((plan.sum(0) - b).abs().sum()))
    assert gaps == sorted(gaps, reverse=True)


def test_start_at_the_solution_is_done_at_once():
    logits, a, b = problem()
    s = solved(logits, a, b)
    again = solved(logits, a, b, start=s.u.log() + (0 if s.shift_s is None else s.shift_s), tol=1e-8)
    assert again.iterations == 1


def test_groups_get_their_mass_in_one_step():
    logits, a, b = problem()
    groups = torch.arange(9) % 3, torch.arange(7) % 3
    logits -= 4.0 * (groups[0][:, None] != groups[1])  # clusters, which is where mass gets stuck
    kernel = logits.exp()
    v = balanced_by_group(kernel, b.clone(), a, b, *groups)
    u = a / (kernel @ v)
    plan = u[:, None] * kernel * v
    mass = torch.zeros(3).double().index_add(0, groups[1], plan.sum(0))
    wanted = torch.zeros(3).double().index_add(0, groups[1], b)
    before = (a / (kernel @ b))[:, None] * kernel * b
    was = torch.zeros(3).double().index_add(0, groups[1], before.sum(0))
    assert float((mass - wanted).abs().sum()) < 0.5 * float((was - wanted).abs().sum())


def test_nan_ends_the_search():
    logits, a, b = problem()
    logits[2, 3] = torch.nan
    s = solved(logits, a, b)
    assert not s.converged
    assert s.iterations < 10
    assert s.error != s.error


def test_padding_weight_is_harmless():
    logits, a, b = problem()
    padded = torch.cat([logits, logits[:1]])
    s = solved(padded, torch.cat([a, a.new_tensor([FLOOR])]), b)
    torch.testing.assert_close(s.plan()[:-1], solved(logits, a, b).plan(), rtol=1e-6, atol=1e-12)
