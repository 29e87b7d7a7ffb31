from __future__ import annotations

import pytest
import torch

from limbeck.students.pooled import pooled

STATES = torch.arange(24.0).reshape(2, 4, 3)
LEFT = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
RIGHT = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("pooling", "mask", "positions"),
    [
        ("mean", LEFT, ([2, 3], [1, 2, 3])),
        ("mean", RIGHT, ([0, 1], [0, 1, 2])),
        ("last", LEFT, ([3], [3])),
        ("last", RIGHT, ([1], [2])),
        ("cls", LEFT, ([2], [1])),
        ("cls", RIGHT, ([0], [0])),
    ],
)
def test_only_shown_tokens_count_on_either_side(pooling, mask, positions):
    states = torch.where(mask.bool().unsqueeze(-1), STATES, torch.tensor(1e6))
    wanted = torch.stack([STATES[i, rows].mean(0) for i, rows in enumerate(positions)])
    torch.testing.assert_close(pooled(states, mask, pooling), wanted)


def test_the_mean_of_long_bfloat16_rows_is_taken_in_float32():
    states = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)
    states[0, ::2] = 3.0
    mean = pooled(states, torch.ones(1, 4096, dtype=torch.int64), "mean")
    assert (mean.dtype, mean.item()) == (torch.bfloat16, 2.0)


@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
def test_a_row_without_tokens_is_finite(pooling):
    assert pooled(STATES, torch.zeros(2, 4, dtype=torch.int64), pooling).isfinite().all()
