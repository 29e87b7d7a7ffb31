"""Wasserstein on lines against POT, closed forms, laws and edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, NonFiniteError
from limbeck.functional.transport import sliced

sizes, seeds, powers = st.integers(1, 7), st.integers(0, 999), st.sampled_from([1, 1.5, 2, 3])


def cloud(n: int, seed: int, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(k: int, d: int = 3) -> torch.Tensor:
    return L.projection_directions(d, k, generator=torch.Generator().manual_seed(0)).double()


class TestOneDimension:
    @settings(deadline=None, max_examples=40)
    @given(n=sizes, m=sizes, seed=seeds, p=powers)
    def test_equals_the_linear_programme(self, n, m, seed, p):
        ot = pytest.importorskip("ot")
        s, t = cloud(n, seed, 1), cloud(m, seed + 1000, 1)
        cost = (s - t.T).abs() ** p
        expected = ot.emd2(torch.full((n,), 1 / n).double(), torch.full((m,), 1 / m).double(), cost)
        torch.testing.assert_close(L.wasserstein_1d(s, t, p=p), expected, rtol=1e-6, atol=1e-8)

    @settings(deadline=None, max_examples=40)
    @given(n=sizes, m=sizes, seed=seeds, p=powers)
    def test_equal_weights_are_no_weights(self, n, m, seed, p):
        s, t = cloud(n, seed).requires_grad_(), cloud(m, seed + 1000)
        plain, weighted = (L.wasserstein_1d(s, t, p=p, weights_s=w) for w in (None, torch.full((n,), 3.0)))
        torch.testing.assert_close(weighted, plain)
        torch.testing.assert_close(torch.autograd.grad(weighted, s), torch.autograd.grad(plain, s))

    def test_a_weight_of_two_is_a_row_twice(self):
        s, t = cloud(3, 0), cloud(5, 1)
        found = L.wasserstein_1d(s, t, weights_s=torch.tensor([1.0, 2.0, 1.0]))
        torch.testing.assert_close(found, L.wasserstein_1d(s[[0, 1, 1, 2]], t))

    def test_translation(self):
        s = cloud(6, 0)
        torch.testing.assert_close(L.wasserstein_1d(s, s + 2), torch.tensor(3 * 4.0).double())
        torch.testing.assert_close(L.wasserstein_1d(s, s + 2, p=1), torch.tensor(3 * 2.0).double())

    @pytest.mark.parametrize("p", [1, 2, 3])
    @pytest.mark.parametrize("m", [4, 7])
    def test_gradcheck(self, p, m):
        t, a = cloud(m, 1), torch.tensor([1.0, 2.0, 3.0, 4.0])
        for weights in (None, a):
            assert torch.autograd.gradcheck(
                lambda x, w=weights: L.wasserstein_1d(x, t, p=p, weights_s=w), cloud(4, 0).requires_grad_()
            )


class TestSliced:
    @settings(deadline=None, max_examples=20)
    @given(n=sizes, m=sizes, seed=seeds, p=st.sampled_from([1, 2]))
    def test_equals_pot(self, n, m, seed, p):
        ot = pytest.importorskip("ot")
        s, t, lines = cloud(n, seed).requires_grad_(), cloud(m, seed + 1000), directions(5)
        found = L.sliced_wasserstein(s, t, p=p, projections=lines)
        expected = ot.sliced_wasserstein_distance(s, t, p=p, projections=lines.T) ** p
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(expected, s))

    @settings(deadline=None, max_examples=20)
    @given(n=sizes, m=sizes, seed=seeds, p=powers, scale=st.floats(0.1, 10))
    def test_laws(self, n, m, seed, p, scale):
        s, t, lines = cloud(n, seed), cloud(m, seed + 1000), directions(5)
        value = L.sliced_wasserstein(s, t, p=p, projections=lines)
        assert float(value) >= 0
        torch.testing.assert_close(L.sliced_wasserstein(t, s, p=p, projections=lines), value)
        moved = L.sliced_wasserstein(
            scale * s[torch.randperm(n)] + 1, scale * t[torch.randperm(m)] + 1, p=p, projections=lines
        )
        torch.testing.assert_close(moved, value * scale**p, rtol=1e-6, atol=1e-9)
        assert float(L.sliced_wasserstein(s, s[torch.randperm(n)], p=p, projections=lines)) < 1e-12

    def test_translation_in_expectation(self):
        s = cloud(9, 0)
        shift = torch.tensor([1.0, 2.0, 2.0]).double()  # E (theta . shift)^2 = |shift|^2 / d
        value = L.sliced_wasserstein(s, s + shift, projections=30_000)
        assert float(value) == pytest.approx(9 / 3, rel=0.02)

    def test_teacher_sorted_once(self):
        s, t, lines = cloud(6, 0).requires_grad_(), cloud(23, 1), directions(5)
        expected = L.sliced_wasserstein(s, t, projections=lines)
        gradient = torch.autograd.grad(expected, s)
        for stored in (L.sorted_projections(t, lines), L.sorted_projections(lambda: t.split(4), lines)):
            found = L.sliced_wasserstein(s, None, projections=lines, teacher_sorted=stored)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(torch.autograd.grad(found, s), gradient)
        torch.testing.assert_close(L.sliced_wasserstein(s, lambda: t.split(4), projections=lines), expected)

    def test_mid_quantiles_stand_for_a_bank(self):
        s, t, lines = cloud(16, 0), cloud(20_000, 1) + 1, directions(5)
        few = L.sorted_projections(t, lines, n_quantiles=256)
        assert few.shape == (5, 256)
        found = L.sliced_wasserstein(s, None, projections=lines, teacher_sorted=few)
        assert float(found) == pytest.approx(float(L.sliced_wasserstein(s, t, projections=lines)), rel=1e-2)

    def test_many_lines_go_in_portions(self, monkeypatch):
        s, t, lines = cloud(6, 0), cloud(11, 1), directions(40)
        expected = L.sliced_wasserstein(s, t, projections=lines)
        monkeypatch.setattr(sliced, "PIECES_AT_A_TIME", 50)
        torch.testing.assert_close(L.sliced_wasserstein(s, t, projections=lines), expected)

    def test_directions_are_orthogonal_and_repeatable(self):
        for k, d in ((3, 8), (8, 8), (20, 8)):
            lines = directions(k, d)
            torch.testing.assert_close(lines.norm(dim=1), torch.ones(k).double(), rtol=1e-5, atol=1e-5)
            gram = lines[:d] @ lines[:d].T
            torch.testing.assert_close(gram, torch.eye(min(k, d)).double(), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(directions(k, d), lines)

    def test_second_derivative_is_refused(self):
        s = cloud(4, 0).requires_grad_()
        first = torch.autograd.grad(L.sliced_wasserstein(s, cloud(5, 1)), s, create_graph=True)[0]
        with pytest.raises(ConfigError, match="sliced_wasserstein has no second derivative"):
            first.sum().backward()


class TestMaxSliced:
    def test_finds_the_direction_of_a_shift(self):
        s = cloud(30, 0)
        shift = torch.tensor([3.0, 0.0, 4.0]).double()
        assert float(L.max_sliced_wasserstein(s, s + shift)) == pytest.approx(25.0, rel=1e-6)

    def test_exceeds_every_random_direction(self):
        s, t = cloud(20, 0) * torch.tensor([3.0, 1.0, 1.0]), cloud(25, 1)
        best = max(float(L.sliced_wasserstein(s, t, projections=line[None])) for line in directions(500))
        found = L.max_sliced_wasserstein(s, t, generator=torch.Generator().manual_seed(0))
        assert float(found) >= best * 0.999

    def test_gradient_lowers_it(self):
        s, t = cloud(20, 0).requires_grad_(), cloud(20, 1) + 2
        value = L.max_sliced_wasserstein(s, t)
        step = s.detach() - 0.5 * torch.autograd.grad(value, s)[0]
        assert float(L.max_sliced_wasserstein(step, t)) < float(value.detach())

    def test_zero_at_equality(self):
        s = cloud(5, 0)
        assert float(L.max_sliced_wasserstein(s, s)) == 0.0


functions = pytest.mark.parametrize(
    "function", [L.wasserstein_1d, L.sliced_wasserstein, L.max_sliced_wasserstein], ids=lambda f: f.__name__
)


@functions
class TestEdges:
    @pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (5, 1), (2, 2)])
    def test_few_rows(self, function, n, m):
        s = cloud(n, 0).float().requires_grad_()
        value = function(s, cloud(m, 1).float())
        assert value.isfinite()
        assert torch.autograd.grad(value, s)[0].isfinite().all()

    def test_equal_rows_and_zero_vectors(self, function):
        s = torch.zeros(4, 3, requires_grad=True)
        value = function(s, torch.zeros(6, 3))
        assert float(value.detach()) == 0.0
        assert torch.autograd.grad(value, s)[0].eq(0).all()

    @pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0)])
    def test_empty_batch(self, function, n, m):
        s = torch.zeros(n, 3, requires_grad=True)
        value = function(s, torch.zeros(m, 3))
        value.backward()
        assert float(value.detach()) == 0.0

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_under_autocast(self, function, dtype):
        s, t = cloud(6, 0).to(dtype).requires_grad_(), cloud(7, 1).to(dtype)
        with torch.autocast("cpu", dtype):
            value = function(s, t)
        assert value.dtype == torch.float32
        assert torch.autograd.grad(value, s)[0].dtype == dtype

    def test_refusals(self, function):
        s, t = cloud(4, 0), cloud(5, 1)
        with pytest.raises(ConfigError, match="p must be >= 1"):
            function(s, t, p=0.5)
        with pytest.raises(DataError, match="one d"):
            function(s, t[:, :2])
        t[3] = torch.nan
        with pytest.raises(NonFiniteError, match="x_t holds NaN or Inf in row 3"):
            function(s, t, validate=True)


def test_refusals_of_projections():
    s, t, lines = cloud(4, 0), cloud(5, 1), directions(6)
    with pytest.raises(ConfigError, match="needs the directions it was made with"):
        L.sliced_wasserstein(s, t, teacher_sorted=L.sorted_projections(t, lines))
    with pytest.raises(DataError, match="for the 3 projections"):
        L.sliced_wasserstein(s, t, projections=lines[:3], teacher_sorted=L.sorted_projections(t, lines))
    with pytest.raises(DataError, match=r"projections must be \(k, 3\)"):
        L.sliced_wasserstein(s, t, projections=torch.ones(2, 5))
    with pytest.raises(ConfigError, match="give the teacher's features"):
        L.sliced_wasserstein(s, None)
    with pytest.raises(ConfigError, match="projections must be >= 1"):
        L.sliced_wasserstein(s, t, projections=0)
