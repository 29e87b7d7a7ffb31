"""Moment discrepancies against closed forms, SciPy, laws and edges."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvals

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, NonFiniteError

FUNCTIONS = {
    "coral": L.coral,
    "mean_cov_bures": L.mean_cov_bures,
    "bures_root": partial(L.mean_cov_bures, squared=False),
    "moment_matching": partial(L.moment_matching, order=3),
    "central_moment_discrepancy": partial(L.central_moment_discrepancy, order=4, span=2.0),
}
functions = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
seeds = st.integers(0, 999)


def cloud(n: int, seed: int, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@functions
class TestAll:
    @settings(deadline=None, max_examples=20)
    @given(seed=seeds, n=st.integers(1, 8), m=st.integers(1, 8))
    def test_laws(self, function, seed, n, m):
        s, t = cloud(n, seed), cloud(m, seed + 1000)
        value = function(s, t)
        assert float(value) > -1e-9
        torch.testing.assert_close(function(t, s), value, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(function(s[torch.randperm(n)], t), value, rtol=1e-6, atol=1e-9)
        assert abs(float(function(s, s[torch.randperm(n)]))) < 1e-6  # the root of what rounding leaves

    @pytest.mark.parametrize(("n", "m"), [(6, 7), (3, 9), (2, 4)])  # more and fewer rows than features
    def test_gradcheck(self, function, n, m):
        t = cloud(m, 1) + 1
        assert torch.autograd.gradcheck(lambda x: function(x, t), cloud(n, 0).requires_grad_())

    @pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (5, 1), (0, 3), (3, 0)])
    @pytest.mark.parametrize("make", [torch.zeros, torch.ones])
    def test_few_equal_and_zero_rows(self, function, n, m, make):
        s = make(n, 3).requires_grad_()
        value = function(s, torch.zeros(m, 3))
        value.backward()
        assert value.isfinite()
        assert s.grad is not None
        assert s.grad.isfinite().all()
        assert n * m > 0 or float(value.detach()) == 0.0

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_under_autocast(self, function, dtype):
        s, t = cloud(6, 0).to(dtype).requires_grad_(), cloud(7, 1).to(dtype)
        expected = function(s.float(), t.float())
        with torch.autocast("cpu", dtype):
            value = function(s, t)
        torch.testing.assert_close(value, expected)
        assert torch.autograd.grad(value, s)[0].dtype == dtype

    def test_refusals(self, function):
        s, t = cloud(4, 0), cloud(5, 1)
        with pytest.raises(DataError, match="one d"):
            function(s, t[:, :2])
        s[1] = torch.inf
        with pytest.raises(NonFiniteError, match="x_s holds NaN or Inf in row 1"):
            function(s, t, validate=True)


class TestBures:
    def test_gaussians_in_closed_form(self):
        """With commuting covariances: the distance of the means and of the roots of the eigenvalues."""
        s = cloud(50, 0)
        shift = torch.tensor([1.0, -2.0, 0.5]).double()
        scale = 3.0
        trace = s.T.cov().trace()
        expected = ((s.mean(0) * (scale - 1) + shift) ** 2).sum() + (scale - 1) ** 2 * trace
        torch.testing.assert_close(L.mean_cov_bures(s, scale * s + shift), expected)

    @settings(deadline=None, max_examples=20)
    @given(seed=seeds, n=st.integers(2, 9), m=st.integers(2, 9))
    def test_equals_the_formula_with_scipy(self, seed, n, m):
        s, t = cloud(n, seed), cloud(m, seed + 1000)
        c_s, c_t = s.T.cov().numpy(), t.T.cov().numpy()
        # the eigenvalues of (root of C_s) C_t (root of C_s), without a root of what may be singular
        cross = torch.tensor(eigvals(c_s @ c_t).real).clamp_min(0).sqrt().sum()
        expected = (s.mean(0) - t.mean(0)).square().sum() + float(c_s.trace() + c_t.trace()) - 2 * cross
        torch.testing.assert_close(L.mean_cov_bures(s, t), expected, rtol=1e-5, atol=1e-5)

    def test_from_samples_and_from_moments_agree(self):
        s, t = cloud(20, 0), cloud(30, 1) + 1
        moments = s.mean(0), s.T.cov(), t.mean(0), t.T.cov()
        torch.testing.assert_close(L.bures_wasserstein(*moments), L.mean_cov_bures(s, t))
        torch.testing.assert_close(
            L.bures_wasserstein(*moments, squared=False), L.mean_cov_bures(s, t, squared=False)
        )

    def test_scales_with_the_square(self):
        s, t = cloud(6, 0), cloud(7, 1)
        torch.testing.assert_close(L.mean_cov_bures(3 * s, 3 * t), 9 * L.mean_cov_bures(s, t))

    def test_singular_moments_have_a_finite_gradient(self):
        cov = torch.diag(torch.tensor([1.0, 0.0])).requires_grad_()
        value = L.bures_wasserstein(torch.zeros(2), cov, torch.zeros(2), torch.diag(torch.tensor([4.0, 0.0])))
        assert float(value.detach()) == pytest.approx(1.0)
        assert torch.autograd.grad(value, cov)[0].isfinite().all()

    def test_refuses_moments_that_do_not_fit(self):
        with pytest.raises(DataError, match="moments must be"):
            L.bures_wasserstein(torch.zeros(2), torch.eye(3), torch.zeros(2), torch.eye(2))


def test_coral_is_blind_to_the_means_and_scales_with_the_fourth_power():
    s, t = cloud(6, 0), cloud(7, 1)
    torch.testing.assert_close(L.coral(s + 5, t - 3), L.coral(s, t))
    torch.testing.assert_close(L.coral(2 * s, 2 * t), 16 * L.coral(s, t))


def test_first_moments_alone_are_the_distance_of_the_means():
    s, t = cloud(6, 0), cloud(7, 1)
    gap = (s.mean(0) - t.mean(0)).norm()
    torch.testing.assert_close(L.moment_matching(s, t, order=1), gap)
    torch.testing.assert_close(L.central_moment_discrepancy(s, t, order=1, span=4.0), gap / 4)


def test_central_moments_do_not_move_with_the_cloud():
    s, t = cloud(6, 0), cloud(7, 1)
    torch.testing.assert_close(
        L.central_moment_discrepancy(s + 2, t + 2), L.central_moment_discrepancy(s, t), rtol=1e-6, atol=1e-8
    )


def test_refuses_a_wrong_order():
    with pytest.raises(ConfigError, match="order must be >= 1"):
        L.moment_matching(cloud(2, 0), cloud(2, 1), order=0)
    with pytest.raises(ConfigError, match="span must be > 0"):
        L.central_moment_discrepancy(cloud(2, 0), cloud(2, 1), span=0.0)
