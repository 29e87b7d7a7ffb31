"""Sorted probabilities of two vocabularies: alignment of answers, padding, and what is refused."""

from __future__ import annotations

import pytest
import torch

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError


def logits(seed: int, n: int = 2, length: int = 4, vocabulary: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, length, vocabulary, generator=generator, dtype=torch.float64)


def test_by_hand_for_unequal_vocabularies():
    s, t = logits(0), logits(1, length=3, vocabulary=9)
    expected = torch.zeros(2).double()
    for row in range(2):
        for token in range(3):
            a, b = (x[row, token].softmax(0).sort(descending=True).values for x in (s, t))
            expected[row] += (torch.cat([a, torch.zeros(3)]) - b).abs().sum()
    torch.testing.assert_close(L.sorted_l1(s, t, reduction="none"), expected)
    torch.testing.assert_close(L.sorted_l1(s, t, over_tokens="mean", reduction="none"), expected / 3)


def test_answers_are_aligned_from_their_first_token():
    """A padding before or after an answer, on either side, changes nothing."""
    s, t = logits(0), logits(1, length=3)
    plain = L.sorted_l1(s, t)
    junk = 9 * logits(2, length=2)
    for before in (True, False):
        padded = torch.cat([junk, s] if before else [s, junk], 1)
        mask = torch.tensor([[0, 0, 1, 1, 1, 1] if before else [1, 1, 1, 1, 0, 0]] * 2)
        torch.testing.assert_close(L.sorted_l1(padded, t, mask_s=mask), plain)
        torch.testing.assert_close(L.sorted_l1(t, padded, mask_t=mask), L.sorted_l1(t, s))


def test_hidden_and_surplus_tokens_take_no_gradient():
    s = logits(0).requires_grad_()
    value = L.sorted_l1(s, logits(1, length=2), mask_s=torch.tensor([[0, 1, 1, 1], [0, 0, 0, 0]]))
    (slope,) = torch.autograd.grad(value, s)
    assert slope[0, 1:3].any(-1).all()
    assert not slope[0, [0, 3]].any()
    assert not slope[1].any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda z: L.sorted_l1(z, z[:1]), DataError, "of the same rows"),
        (lambda z: L.sorted_l1(z, z, mask_t=torch.ones(2, 3)), DataError, r"mask_t must be \(2, 4\)"),
        (lambda z: L.sorted_l1(z, z, temperature=0.0), ConfigError, "temperature must be > 0"),
        (lambda z: L.sorted_l1(z, z, over_tokens="all"), UnknownNameError, "unknown over_tokens"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(logits(0))
