"""The mask of the inputs at the rate of the states."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.teachers.hf.pooling import mask_at_rate


def test_masks_at_another_rate():
    states, mask = torch.zeros(2, 2, 3), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    halves = SimpleNamespace(_get_feat_extract_output_lengths=lambda n: n // 2)
    assert mask_at_rate(halves, mask, states, "mean").tolist() == [[True, True], [True, False]]
    assert mask_at_rate(object(), torch.ones(2, 4), states, "mean") is None
    with pytest.raises(ConfigError, match="does not say which of its states are padding"):
        mask_at_rate(object(), mask, states, "mean")
