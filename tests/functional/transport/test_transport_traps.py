"""Every numerical trap that was found in the peers, held shut."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from limbeck.errors import NonFiniteError
from limbeck.functional import (
    cost_matrix,
    exact_transport_cost,
    gromov_wasserstein,
    prototype_transport,
    sinkhorn_divergence,
    transport_cost,
    transport_plan,
    unbalanced_transport_cost,
)


def batch(n=128, m=128, d=128, seed=0):
    """Ten classes whose mixes differ between the sides, unit-variance features."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(2, 10, d, generator=g)
    mixes = torch.softmax(0.5 * torch.randn(2, 10, generator=g), 1)
    labels_s, labels_t = (torch.multinomial(p, k, True, generator=g) for p, k in zip(mixes, (n, m)))
    x_s = centres[0, labels_s] + 0.7 * torch.randn(n, d, generator=g)
    x_t = (0.7 * centres[0] + 0.7 * centres[1])[labels_t] + 0.7 * torch.randn(m, d, generator=g)
    return x_s, x_t, labels_s, labels_t


def graded(x, y, **options):
    x = x.clone().requires_grad_()
    value = transport_cost(x, y, **options)
    value.backward()
    return value.item(), x.grad


def cosine(a, b):
    return float(torch.cosine_similarity(a.double().flatten(), b.double().flatten(), 0))


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("reg", [0.01, 0.002])
def test_small_reg_in_float32_is_right(reg, value):
    x, y, _, _ = batch()
    expected, gradient = graded(x.double(), y.double(), reg=reg, value=value, tol=1e-6, max_iter=20000)
    got, got_gradient = graded(x, y, reg=reg, value=value)
    assert got == pytest.approx(expected, rel=1e-3)
    assert cosine(got_gradient, gradient) > 0.999


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_unnormalised_features_at_absolute_reg_do_not_vanish(cost):
    x, y, _, _ = batch()
    expected, gradient = graded(x.double(), y.double(), cost=cost, tol=1e-6, max_iter=20000)
    got, got_gradient = graded(x, y, cost=cost)
    assert got == pytest.approx(expected, rel=1e-3)
    assert cosine(got_gradient, gradient) > 0.999
    assert float(exact_transport_cost(x, y, cost=cost)) == pytest.approx(got, rel=1e-2)


@pytest.mark.parametrize(("n", "m"), [(1, 7), (7, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("value", ["sharp", "dual"])
def test_one_row(n, m, value):
    x, y, _, _ = batch(n, m)
    got, gradient = graded(x, y, value=value)
    assert math.isfinite(got)
    assert torch.isfinite(gradient).all()
    if min(n, m) == 1:  # there is only one plan
        assert got == pytest.approx(float(cost_matrix(x, y).mean()), rel=1e-5)
        assert float(sinkhorn_divergence(x, y, blur=1.0)) > -1e-4


@pytest.mark.parametrize("cost", ["cosine", "angular", "chordal", "sqeuclidean", "euclidean", "l1"])
def test_equal_rows_and_zero_vectors(cost):
    x = torch.cat([torch.zeros(2, 4), torch.ones(3, 4)])
    got, gradient = graded(x, x.clone(), cost=cost)
    assert math.isfinite(got)
    assert torch.isfinite(gradient).all()
    divergence = sinkhorn_divergence(x.requires_grad_(), torch.ones(4, 4))
    divergence.backward()
    assert torch.isfinite(x.grad).all()


def test_class_on_one_side_only():
    x, y, labels_s, labels_t = batch(40, 40)
    labels_s = labels_s.where(labels_s != 3, 11)
    labels = {"labels_s": labels_s, "labels_t": labels_t}
    plain, known = graded(x, y), graded(x, y, **labels)
    assert known[0] == pytest.approx(plain[0], rel=1e-3)
    with pytest.warns(RuntimeWarning, match="class that one side lacks"):
        got, gradient = graded(x, y, **labels, within_class=True)
    assert math.isfinite(got)
    assert float(gradient[labels_s == 11].abs().max()) < 1e-12
    assert float(gradient[labels_s == 0].abs().max()) > 0
    with pytest.warns(RuntimeWarning, match="share no class"):
        got, gradient = graded(x, y, labels_s=labels_s, labels_t=labels_t + 20, within_class=True)
    assert got == 0
    assert float(gradient.abs().max()) == 0


def test_weights_are_scaled_to_sum_to_one():
    x, y, _, _ = batch(9, 8)
    w = torch.rand(9) + 0.1
    assert graded(x, y, weights_s=7 * w)[0] == pytest.approx(graded(x, y, weights_s=w / w.sum())[0], rel=1e-6)


def test_zero_weight_is_as_good_as_absent():
    x, y, _, _ = batch(9, 8)
    w = torch.ones(9)
    w[4] = 0
    for value in ("sharp", "dual"):
        for reg in (0.1, 0.01):
            got, gradient = graded(x, y, weights_s=w, value=value, reg=reg, tol=1e-4)
            expected, _ = graded(x[w > 0], y, value=value, reg=reg, tol=1e-4)
            assert got == pytest.approx(expected, rel=1e-4)
            assert float(gradient[4].abs().max()) < 1e-12


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_rows_are_named(bad):
    x, y, _, _ = batch(9, 8)
    x[5, 2] = bad
    for function in (
        transport_cost,
        transport_plan,
        sinkhorn_divergence,
        unbalanced_transport_cost,
        exact_transport_cost,
        gromov_wasserstein,
        prototype_transport,
    ):
        with pytest.raises(NonFiniteError, match="x_s holds NaN or Inf in row 5"):
            function(x, y, validate=True)
    with pytest.raises(NonFiniteError, match="x_t holds NaN or Inf in row 5"):
        transport_cost(y, x, validate=True)


def test_non_finite_rows_are_never_a_silent_number():
    x, y, _, _ = batch(9, 8)
    x[5, 2] = float("nan")
    with pytest.warns(RuntimeWarning, match="validate=True names the rows"):
        assert torch.isnan(transport_cost(x, y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function", [transport_cost, sinkhorn_divergence, unbalanced_transport_cost])
def test_half_precision_under_autocast(dtype, function):
    x, y, _, _ = batch(16, 12)
    x, y = x.to(dtype), y.to(dtype)
    options = {"blur": 5.0} if function is sinkhorn_divergence else {}
    expected = function(x.float(), y.float(), **options)
    x.requires_grad_()
    with torch.autocast("cpu", dtype):
        got = function(x, y, **options)
    got.backward()
    assert got.dtype == torch.float32
    assert x.grad.dtype == dtype
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("function", [transport_cost, sinkhorn_divergence, unbalanced_transport_cost])
def test_empty_batch_is_zero_with_a_gradient_path(function):
    x = torch.zeros(0, 4, requires_grad=True)
    with pytest.warns(RuntimeWarning, match="no rows"):
        value = function(x, torch.ones(3, 4))
    value.backward()
    assert value.item() == 0
    assert x.grad.shape == (0, 4)


def test_not_converged_warns_once_for_each_calling_line():
    x, y, _, _ = batch(32, 32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            transport_cost(x, y, reg=0.005, tol=1e-6, max_iter=2)
        transport_cost(x, y, reg=0.005, tol=1e-6, max_iter=2)
    assert len(caught) == 2
    for warning in caught:
        assert warning.filename == __file__
        for part in ("marginal error", "after 2 sweeps", "reg 0.005", "raise reg"):
            assert part in str(warning.message)


def test_stopping_short_is_reported():
    x, y, _, _ = batch(32, 32)
    with pytest.warns(RuntimeWarning):
        _, info = transport_cost(x, y, reg=0.005, tol=1e-6, max_iter=2, return_info=True)
    assert not info.converged
    assert info.error > 1e-6


def test_divergence_of_equal_clouds():
    x, _, _, _ = batch(32, 32)
    x.requires_grad_()
    same = sinkhorn_divergence(x, x, blur=1.0)
    assert same.item() == 0.0
    scale = float(cost_matrix(x.detach(), x.detach(), "sqeuclidean").mean()) / 2
    for blur in (0.3, 1.0, 5.0):
        apart = sinkhorn_divergence(x, x.detach().clone(), blur=blur)
        assert -1e-6 * scale <= apart.item() < 1e-4 * scale


def test_divergence_is_not_clamped():
    x, _, _, _ = batch(16, 16)
    near = (x + 1e-3 * torch.randn_like(x)).requires_grad_()
    sinkhorn_divergence(near, x, blur=1.0).backward()
    assert float(near.grad.abs().max()) > 0


def test_extreme_magnitudes_stay_finite():
    x, y, _, _ = batch(8, 8)
    for scale in (1e-12, 1e12):
        got, gradient = graded(x * scale, y)
        assert got == pytest.approx(graded(x, y)[0], rel=1e-4)
        assert torch.isfinite(gradient).all()


def test_a_length_that_overflows_is_no_zero_vector():
    x, y, _, _ = batch(8, 8)
    with pytest.warns(RuntimeWarning, match="NaN"):
        assert torch.isnan(transport_cost(x * 1e25, y))
