"""transport_cost and transport_plan: gradients, laws, marginals, closed forms, and agreement between the ways."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.functional import cost_matrix, exact_transport_cost, transport_cost, transport_plan
from limbeck.functional.costs import COST_NAMES

TIGHT = {"tol": 1e-11, "max_iter": 20000}


def clouds(n, m, d=4, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=dtype), torch.randn(m, d, generator=g, dtype=dtype) + 0.3


def classes(n, m, d=32, n_classes=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(2, n_classes, d, generator=g)
    labels_s, labels_t = (
        torch.randint(n_classes, (n,), generator=g),
        torch.randint(n_classes, (m,), generator=g),
    )
    x_s = centres[0, labels_s] + 0.5 * torch.randn(n, d, generator=g)
    x_t = 0.7 * centres[0, labels_t] + 0.7 * centres[1, labels_t] + 0.5 * torch.randn(m, d, generator=g)
    return x_s, x_t, labels_s, labels_t


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("cost", COST_NAMES)
def test_gradcheck(cost, value):
    x, y = clouds(5, 4)
    reg = {"sqeuclidean": 2.0, "l1": 1.0}.get(cost, 0.3)
    x.requires_grad_()
    y.requires_grad_()

    def loss(x, y):
        return transport_cost(x, y, cost=cost, reg=reg, value=value, **TIGHT)

    assert torch.autograd.gradcheck(loss, (x, y), atol=1e-6)


@pytest.mark.parametrize("value", ["sharp", "dual"])
def test_gradcheck_through_a_cost_matrix(value):
    matrix = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    x, y = clouds(4, 5)
    assert torch.autograd.gradcheck(
        lambda m: transport_cost(x, y, cost=m, reg=0.2, value=value, **TIGHT), matrix
    )


def test_value_by_definition():
    x, y = clouds(6, 7)
    cost, info = transport_cost(x, y, reg=0.2, return_info="plan", **TIGHT)
    matrix = cost_matrix(x, y)
    torch.testing.assert_close(cost, (info.plan * matrix).sum())
    kl = torch.xlogy(info.plan, info.plan * 42).sum()
    torch.testing.assert_close(transport_cost(x, y, reg=0.2, value="dual", **TIGHT), cost + 0.2 * kl)


def test_plan_has_the_marginals():
    x, y = clouds(6, 7)
    a, b = torch.rand(6, dtype=torch.float64) + 0.1, torch.rand(7, dtype=torch.float64) + 0.1
    plan = transport_plan(x, y, weights_s=a, weights_t=b, tol=1e-3)
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(1), a / a.sum())
    assert float((plan.sum(0) - b / b.sum()).abs().sum()) <= 1e-3


def test_unrolled_tends_to_the_adjoint():
    x, y = clouds(6, 7)
    x.requires_grad_()
    values = transport_cost(x, y, **TIGHT), transport_cost(x, y, gradient="unrolled", max_iter=300)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(v, x)[0] for v in values), rtol=1e-6, atol=1e-9)


def test_second_derivative_is_refused_by_name():
    x, y = clouds(4, 4)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(transport_cost(x, y), x, create_graph=True)
    with pytest.raises(ConfigError, match="transport_cost has no second derivative"):
        gradient.square().sum().backward()


def test_create_graph_alone_is_no_error():
    x, y = clouds(4, 4)
    x.requires_grad_()
    loss = transport_cost(x, y) + x.square().sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    assert torch.isfinite(gradient).all()


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 6),
    m=st.integers(1, 6),
    seed=st.integers(0, 99),
    value=st.sampled_from(["sharp", "dual"]),
)
def test_symmetric_and_blind_to_order(n, m, seed, value):
    x, y = clouds(n, m, seed=seed)
    forward = transport_cost(x, y, value=value, **TIGHT)
    torch.testing.assert_close(forward, transport_cost(y, x, value=value, **TIGHT), rtol=1e-6, atol=1e-9)
    shuffled = transport_cost(x[torch.randperm(n)], y[torch.randperm(m)], value=value, **TIGHT)
    torch.testing.assert_close(forward, shuffled, rtol=1e-6, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_scaling_and_translation(seed, scale, shift):
    x, y = clouds(4, 5, seed=seed)
    base = transport_cost(x, y, cost="sqeuclidean", reg=1.0, **TIGHT)
    scaled = transport_cost(x * scale + shift, y * scale + shift, cost="sqeuclidean", reg=scale**2, **TIGHT)
    torch.testing.assert_close(scaled, base * scale**2, rtol=1e-6, atol=1e-9)
    rotated = transport_cost(x * scale, y, cost="cosine", **TIGHT)
    torch.testing.assert_close(rotated, transport_cost(x, y, cost="cosine", **TIGHT))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 99))
def test_falls_towards_exact_transport(seed):
    x, y = clouds(6, 6, seed=seed)
    costs = [float(transport_cost(x, y, reg=reg, tol=1e-4)) for reg in (2.0, 0.5, 0.1, 0.02)]
    exact = float(exact_transport_cost(x, y))
    assert all(high >= low - 1e-3 for high, low in zip(costs, [*costs[1:], exact]))
    assert costs[-1] - exact < 0.02 * math.log(36)


def test_one_point_on_each_side_costs_their_cost():
    x, y = clouds(1, 1)
    for cost in COST_NAMES:
        torch.testing.assert_close(transport_cost(x, y, cost=cost), cost_matrix(x, y, cost)[0, 0])


def test_in_one_dimension_it_is_sorting():
    x, y = clouds(8, 8, d=1)
    got = transport_cost(x, y, cost="sqeuclidean", reg=1e-3, tol=1e-6, max_iter=20000)
    expected = (x.flatten().sort().values - y.flatten().sort().values).square().mean()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_labels_do_not_change_the_answer_and_save_sweeps():
    x, y, labels_s, labels_t = classes(256, 256, d=256, n_classes=10)
    plain, info = transport_cost(x, y, reg=0.02, tol=1e-3, return_info=True)
    known, fewer = transport_cost(
        x, y, reg=0.02, tol=1e-3, labels_s=labels_s, labels_t=labels_t, return_info=True
    )
    torch.testing.assert_close(plain, known, rtol=1e-3, atol=1e-6)
    assert fewer.iterations < info.iterations
    _, info = transport_cost(x, y, reg=0.02, labels_s=labels_s, labels_t=labels_t, return_info=True)
    assert info.iterations <= 12


@pytest.mark.parametrize("value", ["sharp", "dual"])
def test_within_class_is_the_mean_over_classes(value):
    x, y, labels_s, labels_t = classes(30, 40)
    x, y = x.double().requires_grad_(), y.double()
    got, info = transport_cost(
        x,
        y,
        labels_s=labels_s,
        labels_t=labels_t,
        within_class=True,
        value=value,
        return_info="plan",
        **TIGHT,
    )
    parts = [
        (labels_s == c).double().mean()
        * transport_cost(x[labels_s == c], y[labels_t == c], value=value, **TIGHT)
        for c in labels_s.unique()
    ]
    expected = torch.stack(parts).sum()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, x)[0], torch.autograd.grad(expected, x)[0])
    across = labels_s[:, None] != labels_t
    assert float(info.plan[across].abs().max()) == 0.0
    torch.testing.assert_close(info.plan.sum(1), torch.full((30,), 1 / 30, dtype=torch.float64))


def test_relative_reg_follows_the_scale():
    x, y = clouds(9, 7, dtype=torch.float32)
    near, info = transport_cost(x, y, cost="sqeuclidean", reg_scale="median", return_info=True)
    far = transport_cost(100 * x, 100 * y, cost="sqeuclidean", reg_scale="median")
    torch.testing.assert_close(far, near * 1e4, rtol=1e-3, atol=0.0)
    assert info.reg == pytest.approx(0.1 * float(cost_matrix(x, y, "sqeuclidean").median()), rel=1e-5)


def test_info():
    x, y = clouds(9, 7)
    _, info = transport_cost(x, y, return_info=True)
    assert info.converged
    assert info.iterations >= 1
    assert info.error <= 1e-2
    assert info.reg == 0.1
    assert info.plan is None


def test_teacher_gradient_only_when_asked_for():
    x, y = clouds(4, 4)
    x.requires_grad_()
    transport_cost(x, y).backward()
    assert y.grad is None
    with torch.no_grad():
        assert not transport_cost(x, y).requires_grad


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reg": 0.0}, ConfigError, "reg must be > 0"),
        ({"cost": "cosin"}, UnknownNameError, "'cosine'"),
        ({"value": "sharpe"}, UnknownNameError, "'sharp'"),
        ({"labels_s": torch.zeros(4, dtype=torch.long)}, ConfigError, "together"),
        ({"within_class": True}, ConfigError, "together"),
        ({"weights_s": torch.ones(3)}, ConfigError, "one entry per row"),
        ({"weights_s": -torch.ones(4)}, ConfigError, "must be >= 0"),
        ({"max_iter": 0}, ConfigError, "max_iter must be >= 1"),
        ({"tol": float("nan")}, ConfigError, "tol must be >= 0"),
        (
            {"labels_s": torch.zeros(4), "labels_t": torch.zeros(4), "within_class": True},
            DataError,
            "labels_s must hold class numbers of an integer type",
        ),
        ({"gradient": "unrolled", "value": "dual"}, ConfigError, "serves value='sharp'"),
        (
            {"labels_s": torch.zeros(3, dtype=torch.long), "labels_t": torch.zeros(4, dtype=torch.long)},
            DataError,
            "one label per row",
        ),
    ],
)
def test_refusals_say_what_to_do(options, error, words):
    x, y = clouds(4, 4)
    with pytest.raises(error, match=words):
        transport_cost(x, y, **options)
