"""MMD against its definition, closed forms, laws and edges."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, NonFiniteError, UnknownNameError
from limbeck.functional.relations import kernels
from limbeck.functional.relations import pair_sums as pairs

KERNELS = ("rbf", "energy", "laplacian", "imq")
kernel_names = pytest.mark.parametrize("kernel", KERNELS)
seeds = st.integers(0, 999)


def cloud(n: int, seed: int, d: int = 4) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def by_definition(s, t, kernel, widths, unbiased, a, b):
    """The double sums, with all pairs in memory."""

    def k(x, y):
        square = (x[:, None] - y[None]).square().sum(-1)
        r = torch.where(square > 0, square, 1.0).sqrt() * (square > 0)
        of = {
            "rbf": lambda w: (-square / (2 * w**2)).exp(),
            "energy": lambda w: -r,
            "laplacian": lambda w: (-r / w).exp(),
            "imq": lambda w: (1 + square / w**2) ** -0.5,
        }[kernel]
        return sum(of(w) for w in widths)

    def own(x, a):
        gram = k(x, x)
        total = a @ gram @ a
        return (total - (gram.diagonal() * a * a).sum()) / (1 - (a * a).sum()) if unbiased else total

    a, b = a / a.sum(), b / b.sum()
    return own(s, a) + own(t, b) - 2 * a @ k(s, t) @ b


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(pairs, "TILE_ROWS", 3)
    monkeypatch.setattr(pairs, "TILE_COLUMNS", 7)


class TestDefinition:
    @kernel_names
    @pytest.mark.parametrize("unbiased", [True, False])
    @pytest.mark.parametrize("widths", [[1.5], [0.5, 2.0]])
    @pytest.mark.parametrize("tiled", [True, False])
    def test_value_and_gradient(self, kernel, unbiased, widths, tiled, request):
        if tiled:
            request.getfixturevalue("small_tiles")
        s, t = cloud(13, 0).requires_grad_(), cloud(17, 1) + 0.5
        for a, b in ((None, None), (weights(13, 2), weights(17, 3))):
            found = L.mmd(s, t, kernel=kernel, bandwidth=widths, unbiased=unbiased, weights_s=a, weights_t=b)
            a, b = torch.ones(13).double() if a is None else a, torch.ones(17).double() if b is None else b
            expected = by_definition(
                s, t, kernel, widths[:1] if kernel == "energy" else widths, unbiased, a, b
            )
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(expected, s))

    @kernel_names
    def test_gradcheck(self, kernel):
        t = cloud(5, 1)
        assert torch.autograd.gradcheck(
            lambda x: L.mmd(x, t, kernel=kernel, bandwidth=1.0), cloud(4, 0).requires_grad_()
        )

    def test_second_derivative_is_refused(self):
        s = cloud(4, 0).requires_grad_()
        first = torch.autograd.grad(L.mmd(s, cloud(5, 1)), s, create_graph=True)[0]
        with pytest.raises(ConfigError, match="mmd has no second derivative"):
            first.sum().backward()

    def test_energy_of_two_points_each(self):
        s, t = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
        # 2 * mean(0, 3, 1, 2) - mean(0, 1, 1, 0) - mean(0, 3, 3, 0)
        assert float(L.mmd(s, t, kernel="energy", unbiased=False)) == pytest.approx(2 * 1.5 - 0.5 - 1.5)

    def test_one_row_each(self):
        s, t = torch.zeros(1, 2, requires_grad=True), torch.tensor([[3.0, 4.0]])
        value = L.mmd(s, t, kernel="energy")
        assert float(value.detach()) == pytest.approx(10.0)
        torch.testing.assert_close(torch.autograd.grad(value, s)[0], torch.tensor([[-1.2, -1.6]]))
        assert float(L.mmd(s.detach(), t, bandwidth=5.0)) == pytest.approx(-2 * math.exp(-0.5))

    def test_float32_far_from_the_origin(self):
        s, t = cloud(40, 0), cloud(50, 1) * 1.2
        near = L.mmd(s, t, kernel="energy", unbiased=False)
        far = L.mmd((s + 1000).float(), (t + 1000).float(), kernel="energy", unbiased=False)
        assert float(far) == pytest.approx(float(near), rel=1e-2)

    def test_an_outlier_does_not_blur_the_others(self):
        s, t = 1e-2 * cloud(20, 0), 1e-2 * cloud(30, 1)
        t[7] *= 1e2
        expected = L.mmd(s, t, kernel="laplacian", bandwidth=0.01)
        found = L.mmd(s.float(), t.float(), kernel="laplacian", bandwidth=0.01)
        assert float(found) == pytest.approx(float(expected), rel=1e-2)

    @kernel_names
    def test_equal_wide_clouds_in_float32(self, kernel):
        s = cloud(40, 0, d=1024).float() * 3 + 5
        assert abs(float(L.mmd(s, s.clone(), kernel=kernel, unbiased=False))) < 1e-4

    def test_a_collapsed_student_far_away_keeps_its_gradient(self):
        s = (1e-3 * cloud(20, 0) + 5).float().requires_grad_()
        value = L.mmd(s, cloud(30, 1).float(), kernel="energy", unbiased=False)
        found = torch.autograd.grad(value, s)[0].double()
        exact = s.detach().double().requires_grad_()
        b = torch.ones(30).double()
        expected = torch.autograd.grad(
            by_definition(exact, cloud(30, 1), "energy", [1.0], False, torch.ones(20).double(), b), exact
        )[0]
        assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.999


class TestLaws:
    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, kernel=st.sampled_from(KERNELS), n=st.integers(1, 6), m=st.integers(1, 6))
    def test_biased_is_never_negative_and_symmetric(self, seed, kernel, n, m):
        s, t = cloud(n, seed), cloud(m, seed + 1000)
        there, back = (L.mmd(x, y, kernel=kernel, bandwidth=1.3, unbiased=False) for x, y in ((s, t), (t, s)))
        assert float(there) > -1e-12
        torch.testing.assert_close(there, back)

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, kernel=st.sampled_from(KERNELS))
    def test_zero_at_equality(self, seed, kernel):
        s = cloud(5, seed)
        value = L.mmd(s, s[torch.randperm(5)], kernel=kernel, bandwidth=1.0, unbiased=False)
        assert abs(float(value)) < 1e-12

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, kernel=st.sampled_from(KERNELS), shift=st.floats(-10, 10))
    def test_blind_to_order_and_translation(self, seed, kernel, shift):
        s, t = cloud(5, seed), cloud(6, seed + 1000)
        expected = L.mmd(s, t, kernel=kernel, bandwidth=1.0)
        moved = L.mmd(
            s[torch.randperm(5)] + shift, t[torch.randperm(6)] + shift, kernel=kernel, bandwidth=1.0
        )
        torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-9)

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, kernel=st.sampled_from(KERNELS), scale=st.floats(0.1, 10))
    def test_scaling(self, seed, kernel, scale):
        s, t = cloud(5, seed), cloud(6, seed + 1000)
        found = L.mmd(s * scale, t * scale, kernel=kernel, bandwidth=scale)
        expected = L.mmd(s, t, kernel=kernel, bandwidth=1.0) * (scale if kernel == "energy" else 1)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)

    def test_median_makes_it_blind_to_scale(self):
        s, t = cloud(5, 0), cloud(6, 1)
        torch.testing.assert_close(L.mmd(s * 7, t * 7), L.mmd(s, t))
        assert L.median_bandwidth(s * 7, t * 7) == pytest.approx(7 * L.median_bandwidth(s, t))


class TestBlocks:
    def test_blocks_of_the_teacher_are_the_teacher(self):
        s, t = cloud(6, 0).float().requires_grad_(), cloud(23, 1).float()
        term = L.mmd_teacher_term(t, bandwidth=2.0)
        assert L.mmd_teacher_term(lambda: t.split(5), bandwidth=2.0) == pytest.approx(term)
        whole = L.mmd(s, t, bandwidth=2.0)
        pieces = L.mmd(s, lambda: iter(t.half().split(5)), bandwidth=2.0, teacher_term=term)
        torch.testing.assert_close(pieces, whole, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(
            torch.autograd.grad(pieces, s), torch.autograd.grad(whole, s), rtol=1e-2, atol=1e-3
        )

    def test_blocks_of_a_bank_hold_features(self):
        s, t = cloud(6, 0), cloud(23, 1)
        found = L.mmd(
            s,
            lambda: (SimpleNamespace(features=block) for block in t.split(5)),
            bandwidth=2.0,
            teacher_term=L.mmd_teacher_term(t, bandwidth=2.0),
        )
        torch.testing.assert_close(found, L.mmd(s, t, bandwidth=2.0))

    def test_a_long_tensor_is_cut_into_blocks(self, monkeypatch):
        s, t = cloud(6, 0), cloud(23, 1)
        options = {"kernel": "laplacian", "bandwidth": 2.0, "weights_t": weights(23, 2)}
        expected = L.mmd(s, t, **options)
        monkeypatch.setattr(kernels, "BLOCK_ROWS", 5)
        torch.testing.assert_close(L.mmd(s, t, **options), expected)

    def test_refusals(self):
        s, t = cloud(6, 0), cloud(23, 1)
        with pytest.raises(ConfigError, match="teacher_term=mmd_teacher_term"):
            L.mmd(s, lambda: t.split(5), bandwidth=1.0)
        with pytest.raises(ConfigError, match="give a number"):
            L.mmd(s, lambda: t.split(5), teacher_term=0.0)
        broken = t.clone()
        broken[7] = torch.nan
        with pytest.raises(NonFiniteError, match=r"block from row 5\) holds NaN or Inf in row 2"):
            L.mmd(s, lambda: broken.split(5), bandwidth=1.0, teacher_term=0.0, validate=True)
        with pytest.raises(ConfigError, match="anew at every call"):
            L.mmd(s, t.split(5), bandwidth=1.0, teacher_term=0.0)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="no rows"):
            L.mmd(s, list, bandwidth=1.0, teacher_term=0.0)
        with pytest.raises(DataError, match=r"\(rows, 4\)"):
            L.mmd(s, lambda: [t[:, :2]], bandwidth=1.0, teacher_term=0.0)


class TestEdges:
    @kernel_names
    def test_equal_rows_and_zero_vectors(self, kernel):
        s = torch.zeros(4, 3, requires_grad=True)
        for t in (torch.zeros(5, 3), torch.ones(5, 3)):
            value = L.mmd(s, t, kernel=kernel)
            assert value.isfinite()
            assert torch.autograd.grad(value, s)[0].isfinite().all()

    @kernel_names
    @pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0)])
    def test_empty_batch(self, kernel, n, m):
        s = torch.zeros(n, 3, requires_grad=True)
        value = L.mmd(s, torch.zeros(m, 3), kernel=kernel)
        value.backward()
        assert float(value.detach()) == 0.0

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_under_autocast(self, dtype):
        s, t = cloud(6, 0).to(dtype).requires_grad_(), cloud(7, 1).to(dtype)
        expected = L.mmd(s.float(), t.float(), kernel="energy")
        with torch.autocast("cpu", dtype):
            value = L.mmd(s, t, kernel="energy")
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected)
        assert torch.autograd.grad(value, s)[0].dtype == dtype

    def test_teacher_takes_no_gradient(self):
        t = cloud(5, 1).requires_grad_()
        L.mmd(cloud(4, 0).requires_grad_(), t).backward()
        assert t.grad is None

    def test_refusals(self):
        s, t = cloud(4, 0), cloud(5, 1)
        with pytest.raises(UnknownNameError, match="did you mean 'laplacian'"):
            L.mmd(s, t, kernel="laplace")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="bandwidth must be > 0"):
            L.mmd(s, t, bandwidth=[1.0, 0.0])
        with pytest.raises(ConfigError, match="'median', got 'mean'"):
            L.mmd(s, t, bandwidth="mean")  # type: ignore[arg-type]
        with pytest.raises(DataError, match="one d"):
            L.mmd(s, cloud(5, 1, d=3))
        with pytest.raises(ConfigError, match="weights_s"):
            L.mmd(s, t, weights_s=-torch.ones(4))
        s[2, 1] = torch.nan
        with pytest.raises(NonFiniteError, match="x_s holds NaN or Inf in row 2"):
            L.mmd(s, t, validate=True)
