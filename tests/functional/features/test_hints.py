from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError, NonFiniteError, UnknownNameError
from limbeck.functional import hint_gap, hint_mse


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


@pytest.mark.parametrize("kind", ["cosine", "distance"])
def test_gaps_of_vectors(kind):
    s, t = (
        torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 3, 4, dtype=torch.float64),
    )
    expected = 1 - torch.cosine_similarity(s, t, -1) if kind == "cosine" else (s - t).norm(dim=-1)
    torch.testing.assert_close(hint_gap(s, t, kind=kind, reduction="none"), expected)
    mask = torch.tensor([[1, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(hint_gap(s, t, kind=kind, mask=mask), expected[mask != 0].mean())
    assert float(hint_gap(s, t, kind=kind, mask=0 * mask)) == 0
    assert abs(float(hint_gap(s, s.detach(), kind=kind))) < 1e-12
    assert torch.autograd.gradcheck(lambda x: hint_gap(x, t, kind=kind, mask=mask), s)


@pytest.mark.parametrize("kind", ["cosine", "distance"])
def test_gaps_of_zero_vectors_have_slopes(kind):
    s = torch.zeros(2, 3, requires_grad=True)
    hint_gap(s, torch.zeros(2, 3), kind=kind).backward()
    assert s.grad.isfinite().all()


def test_gaps_are_refused():
    with pytest.raises(DataError, match="through a regressor"):
        hint_gap(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        hint_gap(torch.zeros(2, 3), torch.zeros(2, 3), kind="cosin")
