"""Pooling leaves padding out, on either side."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.layers.pooling import pool

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
    torch.testing.assert_close(pool(states, pooling, mask), wanted)


def test_the_mean_of_long_bfloat16_rows_is_taken_in_float32():
    states = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)
    states[0, ::2] = 3.0
    mean = pool(states, "mean", torch.ones(1, 4096, dtype=torch.int64))
    assert (mean.dtype, mean.item()) == (torch.bfloat16, 2.0)


def test_half_precision_is_averaged_in_float32():
    states = torch.full((1, 4096, 1), 256.0, dtype=torch.float16)
    assert pool(states, "mean", torch.ones(1, 4096)).item() == 256


@pytest.mark.parametrize("mask", [LEFT, RIGHT, None])
def test_means_by_the_root_and_by_the_place(mask):
    shown = torch.ones(2, 4) if mask is None else mask.float()
    for i in range(2):
        rows = STATES[i][shown[i] > 0]
        places = torch.arange(1.0, len(rows) + 1).unsqueeze(1)
        torch.testing.assert_close(pool(STATES, "mean_sqrt", mask)[i], rows.sum(0) / len(rows) ** 0.5)
        torch.testing.assert_close(
            pool(STATES, "weighted_mean", mask)[i], (rows * places).sum(0) / places.sum()
        )


@pytest.mark.parametrize("mask", [LEFT, RIGHT])
@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "last", "mean_sqrt", "weighted_mean"])
def test_a_beginning_that_is_left_out(pooling, mask):
    """The first position that counts plays no part, and the weight of a place counts it."""
    states = STATES.clone()
    first = mask.argmax(1)
    expected = []
    for i in range(2):
        rows = STATES[i][mask[i] > 0]
        states[i, first[i]] = 1e6
        weights = (
            torch.arange(1.0, len(rows) + 1)[1:] if pooling == "weighted_mean" else torch.ones(len(rows) - 1)
        )
        rows = rows[1:]
        whole = (rows * weights.unsqueeze(1)).sum(0) / (
            weights.sum() ** (0.5 if pooling == "mean_sqrt" else 1)
        )
        expected.append({"max": rows.amax(0), "cls": rows[0], "last": rows[-1]}.get(pooling, whole))
    torch.testing.assert_close(pool(states, pooling, mask, skip=1), torch.stack(expected))
    assert pool(states, "mean", None, skip=3).equal(states[:, 3])


@pytest.mark.parametrize("pooling", ["mean", "last", "cls", "max", "mean_sqrt", "weighted_mean"])
def test_a_row_without_tokens_is_finite(pooling):
    assert pool(STATES, pooling, torch.zeros(2, 4, dtype=torch.int64)).isfinite().all()


def test_the_largest_shown_value():
    states = torch.tensor([[[1.0], [3.0], [99.0]], [[99.0], [-7.0], [-1.0]]])
    assert pool(states, "max", torch.tensor([[1, 1, 0], [0, 1, 1]])).flatten().tolist() == [3, -1]


def test_without_a_mask():
    assert pool(STATES, "mean", None).shape == pool(STATES, "max", None).shape == (2, 3)
    assert pool(STATES, "last", None).equal(STATES[:, -1])


def test_states_of_other_shapes():
    maps = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert pool(maps, "mean", None).tolist() == [[1.5, 5.5]]
    assert pool(torch.ones(2, 3), "max", None).shape == (2, 3)
    with pytest.raises(ConfigError, match="cannot be pooled"):
        pool(torch.ones(2, 3, 4, 5, 6), "mean", None)
