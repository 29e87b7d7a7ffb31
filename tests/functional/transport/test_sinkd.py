"""SinKD beyond its golden vectors: edges and refusals."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError, DataError, NonFiniteError
from limbeck.functional import sinkd


def test_gradcheck():
    s = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    t = torch.randn(5, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: sinkd(s, t, scale=1.0), s)


def test_second_derivative_is_refused_by_name():
    s = torch.randn(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(sinkd(s, torch.randn(5, 3)), s, create_graph=True)
    with pytest.raises(ConfigError, match="cost_matrix has no second derivative"):
        gradient.sum().backward()


def test_blind_to_order():
    s, t = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(
        sinkd(s[torch.randperm(6)], t), sinkd(s, t[torch.randperm(6)]), rtol=1e-3, atol=1e-8
    )


def test_large_logits_and_one_row():
    s = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    sinkd(s, torch.tensor([[-1e4, 1e4, 0.0]])).backward()
    assert torch.isfinite(s.grad).all()


def test_edges():
    assert float(sinkd(torch.zeros(0, 3), torch.zeros(2, 3))) == 0
    with pytest.raises(DataError, match="one C"):
        sinkd(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="temperature must be > 0"):
        sinkd(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.0)
    with pytest.raises(NonFiniteError, match="logits_t holds NaN or Inf in row 1"):
        sinkd(torch.zeros(2, 3), torch.tensor([[0.0] * 3, [torch.nan] * 3]), validate=True)
