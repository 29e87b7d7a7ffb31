"""Unbalanced transport: objective, gradients, limits towards balanced and towards nothing."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.functional import cost_matrix, transport_cost, unbalanced_transport_cost

TIGHT = {"tol": 1e-11, "max_iter": 20000}


def clouds(n=5, m=4, d=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g).double(), torch.randn(m, d, generator=g).double()


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("marginal", [0.7, (0.4, 2.0), (math.inf, 0.5), (0.5, math.inf)])
def test_gradcheck(marginal, value):
    x, y = clouds()
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: unbalanced_transport_cost(x, y, marginal=marginal, reg=0.3, value=value, **TIGHT),
        (x, y),
        atol=1e-6,
    )


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("penalty", ["kl", "l2"])
def test_gradcheck_without_entropy(penalty, value):
    # two points a side at generic places: the support is stable under the probe
    x, y = clouds(2, 2)
    x.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: unbalanced_transport_cost(
            x, y, marginal=4.0, reg=0, penalty=penalty, value=value, tol=1e-13, max_iter=3000
        ),
        x,
        atol=1e-5,
    )


def test_no_plan_is_better():
    """The value is the minimum of the objective: a descent on the plan itself does not get below it."""
    x, y = clouds()
    matrix = cost_matrix(x, y)
    a, b = torch.full((5,), 0.2).double(), torch.full((4,), 0.25).double()
    log_plan = torch.full((5, 4), math.log(1 / 20)).double().requires_grad_()

    def kl(u, v):
        return (u * (u / v).log() - u + v).sum()

    optimiser = torch.optim.LBFGS(
        [log_plan], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )

    def objective():
        optimiser.zero_grad()
        plan = log_plan.exp()
        loss = (
            (plan * matrix).sum()
            + 0.3 * kl(plan, a[:, None] * b)
            + 0.5 * kl(plan.sum(1), a)
            + 0.8 * kl(plan.sum(0), b)
        )
        loss.backward()
        return loss

    optimiser.step(objective)
    got = unbalanced_transport_cost(x, y, marginal=(0.5, 0.8), reg=0.3, **TIGHT)
    torch.testing.assert_close(got, objective().detach(), rtol=1e-7, atol=1e-9)


def test_exact_marginals_are_balanced_transport():
    x, y = clouds()
    for value in ("sharp", "dual"):
        expected = transport_cost(x, y, value=value, **TIGHT)
        exact = unbalanced_transport_cost(x, y, marginal=math.inf, value=value, **TIGHT)
        torch.testing.assert_close(exact, expected)
        near = unbalanced_transport_cost(x, y, marginal=1e4, value=value, tol=1e-6, max_iter=5000)
        torch.testing.assert_close(near, expected, rtol=1e-3, atol=0.0)


def test_an_outlier_is_dropped():
    x = torch.tensor([[0.0, 0.0], [0.1, 0.0], [50.0, 0.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[0.0, 0.1], [0.1, 0.1]], dtype=torch.float64)
    unbalanced_transport_cost(x, y, cost="euclidean", marginal=1.0, reg=0.05).backward()
    assert float(x.grad[2].norm()) < 1e-6 * float(x.grad[0].norm())


def test_small_reg_stays_finite():
    x, y = clouds(40, 30, 8)
    for dtype in (torch.float32, torch.float64):
        value = unbalanced_transport_cost(
            10 * x.to(dtype), 10 * y.to(dtype), cost="sqeuclidean", marginal=50.0, reg=0.1
        )
        assert torch.isfinite(value)
        assert value > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"marginal": 0.0}, "marginal must be > 0"),
        ({"reg": -1.0}, "reg must be > 0"),
        ({"penalty": "l2"}, "serves reg=0 alone"),
        ({"reg": 0, "marginal": math.inf}, "finite marginal"),
        ({"marginal": math.inf, "weights_s": torch.ones(5)}, "masses must agree"),
    ],
)
def test_refusals(options, words):
    x, y = clouds()
    with pytest.raises(ConfigError, match=words):
        unbalanced_transport_cost(x, y, **options)
