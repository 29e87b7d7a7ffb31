"""The manifold terms against numpy, at their edges, and where their gradients go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import DataError, NonFiniteError
from limbeck.functional import (
    mean_cosine_gap,
    mean_distance,
    mean_product_gap,
    pair_cosine_gap,
    pair_distance,
)

OF_PAIRS = [pair_distance, pair_cosine_gap]
OF_MEANS = [mean_distance, mean_cosine_gap, mean_product_gap]
ALL = OF_PAIRS + OF_MEANS
DISTANCES = [term for term in ALL if term is not mean_product_gap]  # what is never below 0, and 0 at equality


def clouds(n: int, m: int, d: int = 5, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    return scale * torch.randn(n, d, **options), scale * torch.randn(m, d, **options)


def by_numpy(name: str, s: np.ndarray, t: np.ndarray) -> float:
    """Row by row, in the words of the definition."""
    cosine = lambda a, b: float(a @ b / np.sqrt((a @ a) * (b @ b)))  # noqa: E731
    if name == "pair_distance":
        return float(np.mean([np.sqrt(((a - b) ** 2).sum()) for a, b in zip(s, t)]))
    if name == "pair_cosine_gap":
        return float(np.mean([1 - cosine(a, b) for a, b in zip(s, t)]))
    if name == "mean_distance":
        return float(np.sqrt(((s.mean(0) - t.mean(0)) ** 2).sum()))
    if name == "mean_product_gap":
        return float(1 - s.mean(0) @ t.mean(0))
    return 1 - cosine(s.mean(0), t.mean(0))


@pytest.mark.parametrize("term", ALL)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_values(term: Callable[..., Tensor], n: int) -> None:
    z_s, z_t = clouds(n, n, seed=n)
    assert float(term(z_s, z_t)) == pytest.approx(
        by_numpy(term.__name__, z_s.numpy(), z_t.numpy()), rel=1e-12
    )


@pytest.mark.parametrize("term", OF_MEANS)
def test_means_of_clouds_of_unequal_size(term: Callable[..., Tensor]) -> None:
    z_s, z_t = clouds(3, 8)
    assert float(term(z_s, z_t)) == pytest.approx(
        by_numpy(term.__name__, z_s.numpy(), z_t.numpy()), rel=1e-12
    )


@pytest.mark.parametrize("term", ALL)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_gradients_on_both_sides(term: Callable[..., Tensor], n: int) -> None:
    z_s, z_t = (z.requires_grad_() for z in clouds(n, n))
    assert torch.autograd.gradcheck(term, (z_s, z_t))


@pytest.mark.parametrize("term", OF_PAIRS)
def test_reductions(term: Callable[..., Tensor]) -> None:
    z_s, z_t = clouds(6, 6)
    rows = term(z_s, z_t, reduction="none")
    assert rows.shape == (6,)
    torch.testing.assert_close(term(z_s, z_t), rows.mean())
    torch.testing.assert_close(term(z_s, z_t, reduction="sum"), rows.sum())
    # a sum over rows: halves add up
    halves = [term(z_s[i::2], z_t[i::2], reduction="sum") for i in range(2)]
    torch.testing.assert_close(halves[0] + halves[1], rows.sum())


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 9),
    d=st.integers(1, 6),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-15, 1e-3, 1.0, 1e20]),
)
def test_properties(n: int, d: int, seed: int, scale: float) -> None:
    """Not negative, symmetric, zero at equality, the same in any order of the rows; cosines do not see the scale."""
    z_s, z_t = (z.float() for z in clouds(n, n, d, seed, scale))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for term in DISTANCES:
        value = float(term(z_s, z_t))
        assert np.isfinite(value)
        assert value >= 0
        assert float(term(z_s, z_s.clone())) == 0
        assert value == pytest.approx(float(term(z_t, z_s)), rel=1e-5)
        assert value == pytest.approx(float(term(z_s[order], z_t[order])), rel=1e-3, abs=1e-6 * scale)
    for term in (pair_cosine_gap, mean_cosine_gap):
        assert float(term(z_s, z_t)) <= 2 + 1e-6
        assert float(term(3 * z_s, z_t)) == pytest.approx(float(term(z_s, z_t)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("term", DISTANCES)
@pytest.mark.parametrize(
    ("s", "t"),
    [
        pytest.param([[1.0, 2.0]], [[1.0, 2.0]], id="equal"),
        pytest.param([[0.0, 0.0]], [[0.0, 0.0]], id="zeros"),
        pytest.param([[0.0, 0.0]], [[1.0, 0.0]], id="zero and one"),
        pytest.param([[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], id="means at zero"),
        pytest.param([[3e37, -3e37]] * 2, [[-3e37, 3e37]] * 2, id="huge"),
        pytest.param([[1e-42, 0.0]], [[0.0, 1e-42]], id="subnormal"),
    ],
)
def test_edges_are_finite(term: Callable[..., Tensor], s: list, t: list) -> None:
    z_s, z_t = torch.tensor(s, requires_grad=True), torch.tensor(t, requires_grad=True)
    value = term(z_s, z_t)
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(z_s.grad).all())
    assert bool(torch.isfinite(z_t.grad).all())


def test_no_pull_where_rows_coincide() -> None:
    """The slope of a distance at 0 is set to 0, for each row by itself."""
    z_s = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    pair_distance(z_s, torch.tensor([[1.0, 2.0], [0.0, 0.0]]), reduction="sum").backward()
    torch.testing.assert_close(z_s.grad, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


@pytest.mark.parametrize("term", ALL)
def test_an_empty_batch_counts_zero(term: Callable[..., Tensor]) -> None:
    z = torch.zeros(0, 3, requires_grad=True)
    value = term(z, torch.zeros(0, 3))
    value.backward()
    assert float(value.detach()) == 0
    assert z.grad is not None


def test_half_precision_is_widened() -> None:
    z_s = torch.full((2, 2), 300.0, dtype=torch.bfloat16, requires_grad=True)
    for term in ALL:
        value = term(z_s, torch.ones(2, 2, dtype=torch.float16))
        assert value.dtype == torch.float32
    assert float(pair_distance(z_s.detach(), -z_s.detach())) == pytest.approx(600 * 2**0.5, rel=1e-6)
    value.backward()
    assert z_s.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("term", ALL)
def test_refusals(term: Callable[..., Tensor]) -> None:
    with pytest.raises(DataError, match=r"projections must have .* got \(2, 3\) and \(2, 4\)"):
        term(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(DataError, match="projections must have"):
        term(torch.zeros(3), torch.zeros(3))
    bad = torch.ones(2, 3)
    bad[1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"z_t .* row 1"):
        term(torch.ones(2, 3), bad, validate=True)


@pytest.mark.parametrize("term", OF_PAIRS)
def test_pairs_must_be_as_many(term: Callable[..., Tensor]) -> None:
    with pytest.raises(DataError, match="one shape"):
        term(torch.zeros(2, 3), torch.zeros(4, 3))
