from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError, NonFiniteError
from limbeck.functional import hint_mse


def test_reductions_and_gradient():
    s, t = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    square = (s - t) ** 2
    torch.testing.assert_close(hint_mse(s, t), square.mean())
    torch.testing.assert_close(hint_mse(s, t, reduction="sum"), square.sum())
    torch.testing.assert_close(hint_mse(s, t, reduction="none"), square)
    assert torch.autograd.gradcheck(lambda x: hint_mse(x, t), s)


def test_edges():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    assert float(hint_mse(x, x.detach())) == 0.0
    empty = torch.zeros(0, 3, requires_grad=True)
    assert float(hint_mse(empty, torch.zeros(0, 3)).detach()) == 0.0
    half = torch.full((1, 2), 300.0, dtype=torch.float16)
    assert float(hint_mse(half, -half)) == 360000.0  # beyond float16


def test_refusals():
    with pytest.raises(DataError, match="through a regressor"):
        hint_mse(torch.zeros(2, 3), torch.zeros(2, 4))
    bad = torch.zeros(2, 3)
    bad[1] = torch.inf
    with pytest.raises(NonFiniteError, match=r"x_t .* row 1"):
        hint_mse(torch.zeros(2, 3), bad, validate=True)
