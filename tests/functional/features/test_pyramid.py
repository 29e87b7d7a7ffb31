"""Maps at several resolutions: what coarser grids see, and what is refused."""

from __future__ import annotations

import pytest
import torch

from limbeck import functional as L
from limbeck.errors import DataError


def test_a_moved_response_counts_less_than_a_lost_one():
    t = torch.zeros(1, 1, 8, 8)
    t[0, 0, 0, 0] = 1
    moved = t.roll(1, 3)
    squares = L.hint_mse(moved, t)
    # the finest grid sees two wrong places, the coarser ones (2 x 2 places of a 4 x 4 grid are one) none
    assert float(L.pyramid_mse(moved, t)) == pytest.approx(float(squares) / (1 + 0.5 + 0.25 + 0.125))
    assert float(L.pyramid_mse(0 * t, t)) > float(L.pyramid_mse(moved, t)) / 2


def test_a_map_of_one_place_is_a_plain_square():
    s, t = torch.randn(3, 4, 1, 1), torch.randn(3, 4, 1, 1)
    torch.testing.assert_close(L.pyramid_mse(s, t), L.hint_mse(s, t))


def test_bad_input():
    with pytest.raises(DataError, match="one shape"):
        L.pyramid_mse(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2))
