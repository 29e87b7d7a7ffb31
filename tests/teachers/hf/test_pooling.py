"""Pooling leaves padding out, at the rate of the states."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.teachers.hf.pooling import mask_at_rate, masked_max, masked_mean, pool

STATES = torch.tensor([[[1.0], [3.0], [99.0]], [[99.0], [-7.0], [-1.0]]])
RIGHT_AND_LEFT = torch.tensor([[1, 1, 0], [0, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [2, -4]), ("max", [3, -1]), ("cls", [1, -7]), ("last", [3, -1])]
)
def test_padding_on_either_side(pooling, expected):
    assert pool(STATES, pooling, RIGHT_AND_LEFT).flatten().tolist() == expected


def test_without_a_mask():
    assert masked_mean(STATES, None).shape == masked_max(STATES, None).shape == (2, 1)
    assert pool(STATES, "last", None).flatten().tolist() == [99, -1]


def test_states_of_other_shapes():
    maps = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert pool(maps, "mean", None).tolist() == [[1.5, 5.5]]
    assert pool(torch.ones(2, 3).bfloat16(), "max", None).dtype == torch.float32
    with pytest.raises(ConfigError, match="cannot be pooled"):
        pool(torch.ones(2, 3, 4, 5, 6), "mean", None)


def test_half_precision_is_averaged_in_float32():
    states = torch.full((1, 4096, 1), 256.0, dtype=torch.float16)
    assert pool(states, "mean", torch.ones(1, 4096)).item() == 256


def test_masks_at_another_rate():
    states, mask = torch.zeros(2, 2, 3), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    halves = SimpleNamespace(_get_feat_extract_output_lengths=lambda n: n // 2)
    assert mask_at_rate(halves, mask, states, "mean").tolist() == [[True, True], [True, False]]
    assert mask_at_rate(object(), torch.ones(2, 4), states, "mean") is None
    with pytest.raises(ConfigError, match="does not say which of its states are padding"):
        mask_at_rate(object(), mask, states, "mean")
