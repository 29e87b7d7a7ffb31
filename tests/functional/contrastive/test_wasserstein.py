"""The dual form of WCoRD: by hand, blind to a constant, edges."""

from __future__ import annotations

import pytest
import torch

from limbeck import functional as L
from limbeck.errors import DataError


def scores() -> torch.Tensor:
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_by_hand():
    g, same = scores(), torch.zeros(3, 5, dtype=torch.bool)
    same[0, 4] = True
    strangers = [float(g[i, j]) for i in range(3) for j in range(5) if i != j and (i, j) != (0, 4)]
    expected = 2 * sum(strangers) / 11 - float(g.diagonal().mean())
    assert float(L.dual_contrast(g, same=same, negatives=2.0)) == pytest.approx(expected)


def test_blind_to_a_constant_and_zero_where_nothing_is_told_apart():
    g = scores()
    torch.testing.assert_close(L.dual_contrast(g + 7), L.dual_contrast(g))
    assert float(L.dual_contrast(torch.ones(3, 5))) == 0


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (1, 1), (1, 2)])
def test_edges(shape):
    g = torch.ones(shape, requires_grad=True)
    value = L.dual_contrast(g)
    value.backward()
    assert value.isfinite()
    assert g.grad.isfinite().all()


def test_bad_input():
    with pytest.raises(DataError, match=r"must be \(n, n \+ q\)"):
        L.dual_contrast(torch.ones(3, 2))
    with pytest.raises(DataError, match=r"and \(2, 2\)"):
        L.dual_contrast(torch.ones(3, 3), same=torch.ones(2, 2).bool())
