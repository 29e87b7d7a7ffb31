"""Rank correlation of rows: against SciPy, by pairs and by counts, ties, edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from limbeck import functional as L
from limbeck.errors import DataError
from limbeck.functional.response import rank_agreement


def logits(seed: int, n: int = 4, c: int = 5) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), c=st.integers(2, 260), grain=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_tau_against_scipy_with_and_without_ties(seed, c, grain):
    a, b = logits(seed, c=c), logits(seed + 100, c=c)
    b = b + a * (seed % 3)
    if grain:
        a, b = (grain * (x / grain).round() for x in (a, b))
    for got, x, y in zip(L.kendall_tau(a, b).tolist(), a.numpy(), b.numpy()):
        expected = float(kendalltau(x, y).statistic)
        assert (math.isnan(got) and math.isnan(expected)) or got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("c", [17, 32, 33, 64, 200, 201, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_counts_and_pairs_say_the_same(c, dtype):
    a, b = logits(0, 3, c).to(dtype), logits(1, 3, c).to(dtype)
    found = L.kendall_tau(a, b)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found, rank_agreement._by_pairs(a.double(), b.double()).to(found.dtype))


def test_some_rows_with_ties_among_others():
    a, b = logits(0, 6, 40), logits(1, 6, 40)
    a[1, 3] = a[1, 9]
    b[4] = 0.0
    found = L.kendall_tau(a, b)
    torch.testing.assert_close(found, rank_agreement._by_pairs(a, b), equal_nan=True)
    assert found.isnan().tolist() == [False] * 4 + [True, False]


@pytest.mark.parametrize("c", [8, 50])
def test_rows_in_blocks(monkeypatch, c):
    a, b = logits(0, 7, c), logits(1, 7, c)
    whole = L.kendall_tau(a, b)
    monkeypatch.setattr(rank_agreement, "BLOCK_ELEMENTS", 900)
    assert torch.equal(L.kendall_tau(a, b), whole)


def test_orders_that_agree_and_that_are_turned_round():
    a = torch.arange(40.0).expand(2, -1) * torch.tensor([[1.0], [-1.0]])
    assert L.kendall_tau(a, a).tolist() == [1, 1]
    assert L.kendall_tau(a, a.flip(0)).tolist() == [-1, -1]
    assert L.kendall_tau(a, 0 * a).isnan().all()
    assert L.kendall_tau(-0.0 * a, torch.zeros(2, 40)).isnan().all()


def test_more_classes_than_sixteen_bits_number():
    a = torch.randn(1, 40_000, generator=torch.Generator().manual_seed(0))
    b = a + torch.randn(1, 40_000, generator=torch.Generator().manual_seed(1))
    expected = float(kendalltau(a[0].numpy(), b[0].numpy()).statistic)
    assert float(L.kendall_tau(a, b)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("c", [3, 40])
def test_no_row(c):
    assert L.kendall_tau(logits(0, 0, c), logits(1, 0, c)).shape == (0,)


def test_bad_input():
    with pytest.raises(DataError, match=r"must be \(n, c\)"):
        L.kendall_tau(logits(0), logits(0)[:, :2])
