"""Directions of predictions by Mahalanobis' distance: an independent formula, invariances, edges."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError


def logits(seed: int, n: int = 5, c: int = 4) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_an_inverse():
    s, t = logits(0), logits(1, c=7)
    gap = F.normalize(s) @ F.normalize(s).T - F.normalize(t) @ F.normalize(t).T
    inverse = torch.linalg.inv(gap.T.cov() + 0.3 * torch.eye(5))
    expected = (gap @ inverse * gap).sum(1).sqrt().mean()
    torch.testing.assert_close(L.direction_gap(s, t, ridge=0.3), expected)


def test_gradcheck_and_nothing_to_the_teacher():
    s, t = logits(0).requires_grad_(), logits(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: L.direction_gap(x, t.detach()), s)
    assert torch.autograd.grad(L.direction_gap(s, t), t, allow_unused=True) == (None,)


def test_blind_to_size_order_of_classes_and_rotation():
    s, t = logits(0), logits(1)
    turn = torch.linalg.qr(logits(2, 4)).Q
    for moved in (7 * s, s[:, [2, 0, 3, 1]], s @ turn):
        torch.testing.assert_close(L.direction_gap(moved, t), L.direction_gap(s, t))


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_edges_are_finite(n, scale):
    s = (scale * logits(0, n)).float().requires_grad_()
    value = L.direction_gap(s, (scale * logits(1, n)).float())
    value.backward()
    assert value.isfinite()
    assert s.grad.isfinite().all()


def test_at_equality_no_pull():
    t = logits(0)
    s = t.clone().requires_grad_()
    value = L.direction_gap(s, t)
    value.backward()
    assert float(value.detach()) == 0
    assert not s.grad.any()


def test_a_ridge_is_needed():
    with pytest.raises(ConfigError, match="ridge must be > 0"):
        L.direction_gap(logits(0), logits(1), ridge=0.0)
