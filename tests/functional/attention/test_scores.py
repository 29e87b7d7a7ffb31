"""Losses on attention scores: the paper's forms by hand, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import DataError, UnknownNameError


def scores(seed: int, heads: int = 2) -> torch.Tensor:
    return torch.randn(3, heads, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_all_scores_count_in_the_paper_and_not_in_textbrewer():
    s, t = scores(0), scores(1)
    torch.testing.assert_close(L.attention_mse(s, t), F.mse_loss(s, t))
    cut = F.mse_loss(s.where(s > -1e-3, 0.0), t.where(t > -1e-3, 0.0))
    torch.testing.assert_close(L.attention_mse(s, t, variant="textbrewer"), cut)


def test_cross_entropy_over_the_keys_that_count():
    s, t, mask = scores(0), scores(1), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
    total = torch.zeros(()).double()
    for i, shown in enumerate(mask.bool()):
        a, b = (x[i][:, shown][:, :, shown] for x in (s, t))
        total += -(b.softmax(-1) * a.log_softmax(-1)).sum()
    torch.testing.assert_close(L.attention_cross_entropy(s, t, mask=mask), total / (2 * mask.sum()))


def test_at_equality_the_entropy():
    t = scores(0)
    entropy = torch.distributions.Categorical(logits=t).entropy().mean()
    torch.testing.assert_close(L.attention_cross_entropy(t.clone(), t), entropy)


def test_heads_pooled_need_not_be_as_many():
    s, t = scores(0, 2), scores(1, 6)
    torch.testing.assert_close(L.attention_mse(s, t, heads="sum"), F.mse_loss(s.sum(1), t.sum(1)))
    found = L.attention_cross_entropy(s, t, heads="mean")
    assert found.isfinite()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: L.attention_mse(s, s[:, :1]), DataError, "same tokens and heads"),
        (lambda s: L.attention_cross_entropy(s, s[:, :, :2], heads="mean"), DataError, "same tokens, got"),
        (lambda s: L.attention_mse(s, s, heads="mean"), UnknownNameError, "unknown heads"),
        (lambda s: L.attention_cross_entropy(s, s, heads="sum"), UnknownNameError, "unknown heads"),
        (lambda s: L.attention_mse(s, s, variant="code"), UnknownNameError, "unknown variant"),
        (lambda s: L.attention_mse(s, s, mask=torch.ones(3, 3)), DataError, r"mask must be \(n, tokens\)"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(scores(0))
