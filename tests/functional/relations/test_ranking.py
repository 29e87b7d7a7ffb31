"""Margins and orders of candidates: loops over pairs, what they are blind to, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck import functional as L
from limbeck.errors import DataError, UnknownNameError


def scores(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_margins_are_blind_to_a_shift_of_a_query():
    s, t = scores(0), scores(1)
    torch.testing.assert_close(L.margin_mse(s + scores(2)[:, :1], t), L.margin_mse(s, t))
    assert L.margin_mse(s, t, reduction="none").shape == (3, 3)


@pytest.mark.parametrize("kind", ["logistic", "hinge"])
def test_every_ordered_pair_once(kind):
    s, p = scores(0), scores(1).softmax(1)
    found = []
    for i in range(3):
        for a in range(4):
            for b in range(4):
                if p[i, a] > p[i, b]:
                    gap = float(s[i, a] - s[i, b])
                    found.append(math.log1p(math.exp(-gap)) if kind == "logistic" else max(0.0, 0.5 - gap))
    assert len(found) == 18
    assert float(L.pair_ranking(s, p, kind=kind, margin=0.5)) == pytest.approx(sum(found) / 18)
    means = [sum(found[6 * i : 6 * i + 6]) / 6 for i in range(3)]
    assert L.pair_ranking(s, p, kind=kind, margin=0.5, reduction="none").tolist() == pytest.approx(means)


def test_equal_probabilities_have_no_order():
    s = scores(0).requires_grad_()
    value = L.pair_ranking(s, torch.full((3, 4), 0.25))
    value.backward()
    assert float(value.detach()) == 0
    assert not s.grad.any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: L.margin_mse(s, s[:, :2]), DataError, "one shape"),
        (lambda s: L.pair_ranking(s, s[:2]), DataError, "one shape"),
        (lambda s: L.pair_ranking(s, s, kind="hinges"), UnknownNameError, "did you mean 'hinge'"),
        (lambda s: L.pair_ranking(s, s, mask=torch.ones(2)), DataError, r"mask must be \(3,\)"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(scores(0))
