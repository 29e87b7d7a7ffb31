"""The Sinkhorn divergence: gradients, laws, closed form, cached teacher part."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ConfigError
from limbeck.functional import cost_matrix, sinkhorn_divergence, sinkhorn_teacher_term

TIGHT = {"tol": 1e-9, "max_iter": 20000}


def clouds(n, m, d=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=g), torch.randn(m, d, generator=g) + 0.5
    return x.double(), y.double()


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("p", [1, 2])
def test_gradcheck_in_both_clouds(p, debias):
    x, y = clouds(5, 4)
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: sinkhorn_divergence(x, y, p=p, blur=0.8, debias=debias, **TIGHT), (x, y), atol=1e-6
    )


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=st.integers(0, 99), p=st.sampled_from([1, 2]))
def test_symmetric_blind_to_order_and_to_place(n, m, seed, p):
    x, y = clouds(n, m, seed=seed)
    value = sinkhorn_divergence(x, y, p=p, blur=0.7, **TIGHT)
    assert value >= -1e-9
    for other in (
        sinkhorn_divergence(y, x, p=p, blur=0.7, **TIGHT),
        sinkhorn_divergence(x[torch.randperm(n)], y, p=p, blur=0.7, **TIGHT),
        sinkhorn_divergence(x + 9, y + 9, p=p, blur=0.7, **TIGHT),
        sinkhorn_divergence(3 * x, 3 * y, p=p, blur=2.1, **TIGHT) / 3**p,
    ):
        torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-7)


def test_shifted_cloud_costs_half_the_squared_shift():
    x, _ = clouds(7, 1)
    shift = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(
        sinkhorn_divergence(x + shift, x, blur=1.0, **TIGHT),
        torch.tensor(12.5, dtype=torch.float64),
        rtol=1e-6,
        atol=0.0,
    )


def test_one_point_on_each_side():
    x, y = clouds(1, 1)
    torch.testing.assert_close(sinkhorn_divergence(x, y), 0.5 * cost_matrix(x, y, "sqeuclidean")[0, 0])


def test_cached_teacher_part_changes_nothing():
    x, y = clouds(8, 9)
    x.requires_grad_()
    term = sinkhorn_teacher_term(y, blur=0.5, **TIGHT)
    values = (
        sinkhorn_divergence(x, y, blur=0.5, **TIGHT),
        sinkhorn_divergence(x, y, blur=0.5, teacher_term=term, **TIGHT),
        sinkhorn_divergence(x, y, blur=0.5, teacher_term=float(term), **TIGHT),
    )
    for value in values[1:]:
        torch.testing.assert_close(value, values[0])
        torch.testing.assert_close(
            torch.autograd.grad(value, x)[0], torch.autograd.grad(values[0], x, retain_graph=True)[0]
        )


def test_blind_to_a_zero_weight():
    x, y = clouds(6, 5)
    w = torch.tensor([1.0, 2, 0, 1, 1, 1])
    torch.testing.assert_close(
        sinkhorn_divergence(x, y, weights_s=w, blur=0.7, **TIGHT),
        sinkhorn_divergence(x[w > 0], y, weights_s=w[w > 0], blur=0.7, **TIGHT),
    )


def test_default_stop_is_accurate_in_float32():
    x, y = clouds(64, 64, d=8)
    expected = sinkhorn_divergence(x, y, blur=1.0, tol=1e-9, max_iter=20000)
    got = sinkhorn_divergence(x.float(), y.float(), blur=1.0)
    assert float(got) == pytest.approx(float(expected), rel=1e-3)


def test_info():
    x, y = clouds(8, 9)
    value, info = sinkhorn_divergence(x, y, blur=0.5, return_info=True)
    assert info.converged
    assert info.reg == 0.25
    assert value == sinkhorn_divergence(x, y, blur=0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"p": 3}, "p must be 1 or 2"),
        ({"blur": 0.0}, "blur must be > 0"),
        ({"max_iter": 0}, "max_iter must be >= 1"),
    ],
)
def test_refusals(options, words):
    x, y = clouds(2, 2)
    with pytest.raises(ConfigError, match=words):
        sinkhorn_divergence(x, y, **options)
    with pytest.raises(ConfigError, match=words):
        sinkhorn_teacher_term(x, **options)


def test_second_derivative_is_refused_by_name():
    x, y = clouds(3, 3)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(sinkhorn_divergence(x, y, blur=1.0), x, create_graph=True)
    with pytest.raises(ConfigError, match="sinkhorn_divergence has no second derivative"):
        gradient.sum().backward()
