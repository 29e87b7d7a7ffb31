"""Similarities of paired representations: invariances, independent formulas, edges."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, NonFiniteError, UnknownNameError

SIMILARITIES = {
    "linear": L.cka,
    "linear unbiased": partial(L.cka, unbiased=True),
    "rbf": partial(L.cka, kernel="rbf"),
    "rbf unbiased": partial(L.cka, kernel="rbf", unbiased=True),
}
DISTANCES = {
    "orthogonal": L.procrustes,
    "raw": partial(L.procrustes, centre=False),
    "disparity": partial(L.procrustes, kind="disparity"),
}
similarities = pytest.mark.parametrize("function", SIMILARITIES.values(), ids=SIMILARITIES)
distances = pytest.mark.parametrize("function", DISTANCES.values(), ids=DISTANCES)
either = pytest.mark.parametrize(
    "function", [*SIMILARITIES.values(), *DISTANCES.values()], ids=[*SIMILARITIES, *DISTANCES]
)
seeds = st.integers(0, 999)


def cloud(n: int, seed: int, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotated(x: torch.Tensor, seed: int) -> torch.Tensor:
    return x @ torch.linalg.qr(cloud(x.shape[1], seed, x.shape[1])).Q


@similarities
class TestCKA:
    @settings(deadline=None, max_examples=20)
    @given(seed=seeds, scale=st.floats(0.01, 100))
    def test_one_up_to_rotation_scale_and_shift(self, function, seed, scale):
        s = cloud(9, seed, 5)
        found = function(s, scale * rotated(s, seed + 1) + 2)
        torch.testing.assert_close(found, torch.ones(()).double())

    @settings(deadline=None, max_examples=20)
    @given(seed=seeds, d=st.integers(1, 12))
    def test_symmetric_and_blind_to_a_common_order(self, function, seed, d):
        s, t, order = cloud(9, seed, d), cloud(9, seed + 1000), torch.randperm(9)
        value = function(s, t)
        assert float(value) < 1 + 1e-9
        torch.testing.assert_close(function(t, s), value, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(function(s[order], t[order]), value, rtol=1e-6, atol=1e-9)

    def test_zero_where_nothing_varies(self, function):
        s = torch.ones(6, 3, requires_grad=True)
        value = function(s, cloud(6, 0).float())
        value.backward()
        assert abs(float(value.detach())) < 1e-6
        assert s.grad is not None
        assert s.grad.isfinite().all()


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("d", [2, 8])  # feature side and sample side
def test_gradcheck_of_linear_cka(d, unbiased):
    t = cloud(6, 1)
    assert torch.autograd.gradcheck(lambda x: L.cka(x, t, unbiased=unbiased), cloud(6, 0, d).requires_grad_())


def test_rbf_cka_holds_its_width():
    s, t = cloud(6, 0).requires_grad_(), cloud(6, 1)
    h = torch.eye(6).double() - 1 / 6

    def gram(x):
        square = (x[:, None] - x[None]).square().sum(-1)
        above = square[tuple(torch.triu_indices(6, 6, 1))].detach()
        return h @ (-square / (2 * above.median())).exp() @ h

    k, q = gram(s), gram(t)
    expected = (k * q).sum() / (k.norm() * q.norm())
    found = L.cka(s, t, kernel="rbf")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(expected, s))


def test_cka_equals_hsic_by_its_definition():
    s, t = cloud(7, 0, 4), cloud(7, 1, 2)
    h = torch.eye(7).double() - 1 / 7

    def hsic(x, y):
        return (h @ x @ x.T @ h @ y @ y.T).trace()

    torch.testing.assert_close(L.cka(s, t), hsic(s, t) / (hsic(s, s) * hsic(t, t)).sqrt())


def test_unbiased_cka_equals_the_estimator_of_song():
    s, t = cloud(7, 0, 4), cloud(7, 1, 2)
    n, one = 7, torch.ones(7).double()

    def hsic(x, y):
        k, q = (z @ z.T - torch.diag((z * z).sum(1)) for z in (x, y))
        total = (k @ q).trace() + (one @ k @ one) * (one @ q @ one) / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * (one @ k @ q @ one)) / (n * (n - 3))

    torch.testing.assert_close(L.cka(s, t, unbiased=True), hsic(s, t) / (hsic(s, s) * hsic(t, t)).sqrt())


def test_unbiased_cka_of_noise_is_near_zero_where_the_biased_one_is_not():
    values = [
        [float(L.cka(cloud(16, i, 200), cloud(16, i + 500, 200), unbiased=u)) for i in range(20)]
        for u in (True, False)
    ]
    unbiased, biased = torch.tensor(values).mean(1)
    assert abs(float(unbiased)) < 0.05
    assert float(biased) > 0.8


@distances
class TestProcrustes:
    @settings(deadline=None, max_examples=20)
    @given(seed=seeds)
    def test_zero_after_a_rotation(self, function, seed):
        s = cloud(8, seed)
        assert abs(float(function(s, rotated(s, seed + 1)))) < 1e-12

    @settings(deadline=None, max_examples=20)
    @given(seed=seeds)
    def test_symmetric_and_no_rotation_does_better(self, function, seed):
        s, t = cloud(8, seed), cloud(8, seed + 1000)
        value = function(s, t)
        torch.testing.assert_close(function(t, s), value)
        torch.testing.assert_close(function(rotated(s, seed + 2), t), value)

    def test_gradcheck(self, function):
        t = cloud(6, 1)
        assert torch.autograd.gradcheck(lambda x: function(x, t), cloud(6, 0).requires_grad_())

    def test_a_narrower_side_counts_as_padded(self, function):
        s, t = cloud(6, 0, 2), cloud(6, 1, 4)
        padded = torch.cat((s, torch.zeros(6, 2).double()), 1)
        torch.testing.assert_close(function(s, t), function(padded, t))

    @pytest.mark.parametrize("n", [0, 1, 4])
    def test_zero_vectors(self, function, n):
        s = torch.zeros(n, 3, requires_grad=True)
        value = function(s, torch.zeros(n, 3))
        value.backward()
        assert value.isfinite()
        assert s.grad is not None
        assert s.grad.isfinite().all()


def test_disparity_equals_scipy():
    s, t = cloud(10, 0), cloud(10, 1)
    assert float(L.procrustes(s, t, kind="disparity")) == pytest.approx(
        scipy_procrustes(s.numpy(), t.numpy())[2]
    )


class TestMutualKNN:
    def test_the_same_neighbours(self):
        s = cloud(20, 0)
        assert float(L.mutual_knn(s, 3 * rotated(s, 1), k=5)) == 1.0

    def test_unrelated_representations_agree_by_chance(self):
        s, t = cloud(400, 0, 20), cloud(400, 1, 30)
        assert float(L.mutual_knn(s, t, k=40)) == pytest.approx(40 / 399, abs=0.02)

    def test_counts_by_hand(self):
        angle = torch.tensor([0.0, 0.1, 1.0, 1.1])
        s = torch.stack((angle.cos(), angle.sin()), 1)  # neighbours 1, 0, 3, 2
        t = s[[0, 2, 1, 3]]  # neighbours 2, 3, 0, 1
        assert float(L.mutual_knn(s, s, k=1)) == 1.0
        assert float(L.mutual_knn(s, t, k=1)) == 0.0

    @pytest.mark.parametrize("k", [0, 5])
    def test_refuses_a_k_that_does_not_fit(self, k):
        with pytest.raises(ConfigError, match=r"below the number of rows \(5\)"):
            L.mutual_knn(cloud(5, 0), cloud(5, 1), k=k)


@either
class TestEdges:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_under_autocast(self, function, dtype):
        s, t = cloud(6, 0).to(dtype).requires_grad_(), cloud(6, 1).to(dtype)
        expected = function(s.float(), t.float())
        with torch.autocast("cpu", dtype):
            value = function(s, t)
        torch.testing.assert_close(value, expected)
        assert torch.autograd.grad(value, s)[0].dtype == dtype

    def test_empty_batch(self, function):
        s = torch.zeros(0, 3, requires_grad=True)
        value = function(s, torch.zeros(0, 3))
        value.backward()
        assert float(value.detach()) == 0.0

    def test_refusals(self, function):
        with pytest.raises(DataError, match="paired row by row"):
            function(cloud(5, 0), cloud(6, 1))
        bad = cloud(6, 0)
        bad[4, 0] = torch.nan
        with pytest.raises(NonFiniteError, match="x_s holds NaN or Inf in row 4"):
            function(bad, cloud(6, 1), validate=True)


def test_names_and_sizes_that_do_not_exist():
    with pytest.raises(UnknownNameError, match="valid ones: linear, rbf"):
        L.cka(cloud(5, 0), cloud(5, 1), kernel="polynomial")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 4 rows, got 3"):
        L.cka(cloud(3, 0), cloud(3, 1), unbiased=True)


class TestDistanceCorrelation:
    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, scale=st.floats(0.01, 100))
    def test_one_for_similar_shapes(self, seed, scale):
        s = cloud(8, seed)
        torch.testing.assert_close(
            L.distance_correlation(s, scale * rotated(s, seed + 1) + 3), torch.ones(()).double()
        )

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds)
    def test_between_zero_and_one_symmetric_and_blind_to_a_common_order(self, seed):
        s, t, order = cloud(8, seed), cloud(8, seed + 1000, d=2), torch.randperm(8)
        value = L.distance_correlation(s, t)
        assert 0 <= float(value) <= 1
        torch.testing.assert_close(L.distance_correlation(t, s), value)
        torch.testing.assert_close(L.distance_correlation(s[order], t[order]), value)

    def test_gradcheck(self):
        t = cloud(5, 1)
        assert torch.autograd.gradcheck(lambda x: L.distance_correlation(x, t), cloud(5, 0).requires_grad_())

    @pytest.mark.parametrize("n", [0, 1, 4])
    def test_zero_where_nothing_varies(self, n):
        s = torch.zeros(n, 3, requires_grad=True)
        value = L.distance_correlation(s, cloud(n, 0).float())
        value.backward()
        assert float(value.detach()) == 0.0
        assert s.grad is not None
        assert s.grad.isfinite().all()

    def test_refuses_unpaired_rows(self):
        with pytest.raises(DataError, match="paired"):
            L.distance_correlation(cloud(4, 0), cloud(5, 1))
