"""The likeliest k of many classes, by hand and against the whole distribution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ConfigError
from limbeck.functional.response.top_k import LOG_ZERO, binned, dense, likeliest, log_rest

PROBS = torch.tensor([[0.05, 0.5, 0.15, 0.3]], dtype=torch.float64)


def test_by_hand():
    ids, log_probs, rest = likeliest(PROBS.log(), 2)
    assert ids.tolist() == [[1, 3]]
    torch.testing.assert_close(log_probs.exp(), PROBS[:, [1, 3]])
    torch.testing.assert_close(rest.exp(), torch.tensor([0.2], dtype=torch.float64))
    torch.testing.assert_close(log_rest(log_probs), rest)
    spread = torch.tensor([[0.1, 0.5, 0.1, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(dense(ids, log_probs, rest, 4).exp(), spread)
    renormalised = torch.tensor([[0.0, 0.625, 0.0, 0.375]], dtype=torch.float64)
    torch.testing.assert_close(dense(ids, log_probs, rest, 4, "renormalised").exp(), renormalised)
    torch.testing.assert_close(binned(PROBS.log(), ids).exp(), torch.tensor([[0.5, 0.3, 0.2]]))


def test_a_small_rest_is_not_lost_to_rounding():
    """One less the kept mass is 0 in float32 here; the sum over the others is 3e-12."""
    _, log_probs, rest = likeliest(torch.tensor([0.0, -27.0, -28.0, -28.0]), 1)
    assert 1 - log_probs.exp().item() == 0
    expected = (torch.tensor([-27.0, -28.0, -28.0], dtype=torch.float64)).logsumexp(0)
    torch.testing.assert_close(rest.double(), expected, rtol=1e-6, atol=0)


def test_all_classes_leave_no_rest_and_no_nan():
    ids, log_probs, rest = likeliest(PROBS.log(), 4)
    assert rest.tolist() == log_rest(log_probs).tolist() == [LOG_ZERO]
    torch.testing.assert_close(dense(ids, log_probs, rest, 4).exp(), PROBS)
    logits = PROBS.log().float().requires_grad_()
    student = binned(logits, ids)
    (torch.cat([log_probs, rest.unsqueeze(1)], 1).exp() * student).sum().backward()
    assert torch.isfinite(student).all()
    assert torch.isfinite(logits.grad).all()


def test_an_impossible_class_is_log_zero():
    _, log_probs, rest = likeliest(torch.tensor([[0.0, -torch.inf, -torch.inf]]), 2)
    assert log_probs.tolist() == [[0.0, LOG_ZERO]]
    assert rest.tolist() == [LOG_ZERO]


@pytest.mark.parametrize("k", [0, 5])
def test_k_is_one_to_all(k):
    with pytest.raises(ConfigError, match=f"likeliest {k} of 4 classes"):
        likeliest(PROBS, k)


def test_what_to_do_with_the_rest_has_two_names():
    with pytest.raises(ConfigError, match="'spread' or 'renormalised' away, not 'gone'"):
        dense(*likeliest(PROBS, 2), 4, "gone")


@settings(max_examples=30, deadline=None)
@given(n_classes=st.integers(1, 12), data=st.data(), seed=st.integers(0, 99))
def test_bins_are_the_sums_of_the_whole(n_classes, data, seed):
    k = data.draw(st.integers(1, n_classes))
    logits = 3 * torch.randn(3, 2, n_classes, generator=torch.Generator().manual_seed(seed))
    ids, log_probs, rest = likeliest(logits, k)
    bins = binned(logits, ids)
    torch.testing.assert_close(bins, torch.cat([log_probs, rest.unsqueeze(-1)], -1), rtol=1e-4, atol=1e-5)
    ones = torch.ones(3, 2)
    for whole in (
        bins,
        dense(ids, log_probs, rest, n_classes),
        dense(ids, log_probs, rest, n_classes, "renormalised"),
    ):
        torch.testing.assert_close(whole.exp().sum(-1), ones)
