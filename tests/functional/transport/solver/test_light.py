"""Sweeps with NumPy vectors: the numbers of torch's, also where scalings outgrow them, and in batches."""

from __future__ import annotations

import warnings

import pytest
import torch

from limbeck.functional import transport_cost
from limbeck.functional.transport.solver import vectors
from limbeck.functional.transport.solver.sinkhorn import solve
from limbeck.functional.transport.solver.vectors import is_light


def both(monkeypatch, action):
    """What ``action`` gives with NumPy vectors and with tensors alone."""
    light = action()
    monkeypatch.setattr(vectors, "_SHORT", 0)
    return light, action()


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("reg", [0.1, 0.004])  # the second starts annealed
def test_the_same_sweeps_as_in_torch(monkeypatch, batch, reg):
    g = torch.Generator().manual_seed(0)
    logits = -torch.rand(*batch, 9, 7, generator=g, dtype=torch.float64) / reg
    a, b = (torch.full((*batch, n), 1 / n / max(1, *batch, 1), dtype=torch.float64) for n in (9, 7))
    light, heavy = both(monkeypatch, lambda: solve(logits.clone(), a, b, tol=1e-9, max_iter=20000))
    assert light.iterations == heavy.iterations
    torch.testing.assert_close(light.plan(), heavy.plan(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("value", ["sharp", "dual"])
def test_value_and_gradient_are_those_of_torch(monkeypatch, value):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 5, generator=g), torch.randn(8, 5, generator=g)

    def graded():
        leaf = x.clone().requires_grad_()
        found = transport_cost(leaf, y, value=value)
        found.backward()
        return found.detach(), leaf.grad

    light, heavy = both(monkeypatch, graded)
    for ours, theirs in zip(light, heavy, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_is_told_once_and_not_by_numpy():
    x = torch.ones(3, 2)
    x[0, 0] = float("nan")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert transport_cost(x, torch.eye(2)).isnan()
    assert ["NaN" in str(w.message) for w in told] == [True]


def test_soft_marginals_and_long_vectors_stay_in_torch():
    a = torch.ones(4)
    assert is_light(a, a)
    assert not is_light(a, a, (0.5, 1.0))
    assert not is_light(torch.ones(5000), a)
