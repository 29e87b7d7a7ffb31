"""Rank agreement and what is not the target: against SciPy, variants, edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from limbeck import functional as L
from limbeck.errors import DataError, UnknownNameError

Y = torch.tensor([0, 3, 1, 2])


def logits(seed: int, n: int = 4, c: int = 5) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 99), c=st.integers(2, 12), ties=st.booleans())
def test_tau_against_scipy_with_and_without_ties(seed, c, ties):
    a, b = logits(seed, c=c), logits(seed + 100, c=c)
    if ties:
        a, b = a.round(), b.round()
    for got, x, y in zip(L.kendall_tau(a, b).tolist(), a.numpy(), b.numpy()):
        expected = float(kendalltau(x, y).statistic)
        assert (math.isnan(got) and math.isnan(expected)) or got == pytest.approx(expected, abs=1e-12)


def test_tau_in_blocks(monkeypatch):
    a, b = logits(0, 7, 30), logits(1, 7, 30)
    whole = L.kendall_tau(a, b)
    monkeypatch.setattr("limbeck.functional.response.two_way.BLOCK_ELEMENTS", 900)
    assert torch.equal(L.kendall_tau(a, b), whole)


def test_tau_of_many_classes_and_of_no_row():
    a, b = logits(0, 2, 700), logits(1, 2, 700)
    expected = [float(kendalltau(x, y).statistic) for x, y in zip(a.numpy(), b.numpy())]
    assert L.kendall_tau(a, b).tolist() == pytest.approx(expected, abs=1e-12)
    assert L.kendall_tau(a[:0], b[:0]).shape == (0,)


def test_the_target_is_gone_in_the_paper_and_zero_in_the_code():
    s, t = logits(0), logits(1)
    moved = s + 9 * torch.nn.functional.one_hot(Y, 5)
    for variant in ("paper", "official"):
        torch.testing.assert_close(
            L.non_target_kl(moved, t, Y, variant=variant), L.non_target_kl(s, t, Y, variant=variant)
        )
    cut = [torch.cat([row[:y], row[y + 1 :]])[None] for x in (s, t) for row, y in zip(x, Y.tolist())]
    torch.testing.assert_close(L.non_target_kl(s, t, Y), L.divergence(torch.cat(cut[:4]), torch.cat(cut[4:])))
    zero = [x * (1 - torch.nn.functional.one_hot(Y, 5)) for x in (s, t)]
    torch.testing.assert_close(L.non_target_kl(s, t, Y, variant="official"), L.divergence(*zero))


def test_rows_that_do_not_count_stay_in_the_mean():
    s, t, mask = logits(0), logits(1), torch.tensor([True, False, False, True])
    rows = L.non_target_kl(s, t, Y, reduction="none")
    torch.testing.assert_close(L.non_target_kl(s, t, Y, mask=mask), rows[mask].sum() / 4)
    nothing = L.non_target_kl(s.requires_grad_(), t, Y, mask=~mask & mask)
    assert float(nothing) == 0
    assert not torch.autograd.grad(nothing, s)[0].any()


def test_bad_input():
    z = logits(0)
    with pytest.raises(DataError, match=r"must be \(n, c\)"):
        L.kendall_tau(z, z[:, :2])
    with pytest.raises(DataError, match=r"labels must lie in \[0, 5\)"):
        L.non_target_kl(z, z, Y - 1)
    with pytest.raises(DataError, match=r"mask must be \(4,\)"):
        L.non_target_kl(z, z, Y, mask=torch.ones(2))
    with pytest.raises(UnknownNameError, match="unknown variant"):
        L.non_target_kl(z, z, Y, variant="code")
