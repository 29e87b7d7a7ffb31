"""Equal content, equal hash; any difference, another hash."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limbeck.errors import StaleFingerprintError
from limbeck.signals.fingerprint import (
    check_fingerprint,
    input_digests,
    module_fingerprint,
    settings_fingerprint,
    tensor_digest,
)


def test_modules():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin = copy.deepcopy(model)
    assert module_fingerprint(model) == module_fingerprint(twin)
    twin[1].running_mean += 1e-6
    assert module_fingerprint(model) != module_fingerprint(twin)
    assert module_fingerprint(model.bfloat16()) != module_fingerprint(twin)


def test_tensors_of_other_shape_or_type_differ():
    x = torch.arange(6)
    digests = {tensor_digest(v) for v in (x, x.reshape(2, 3), x.float(), x.bfloat16(), x[:0])}
    assert len(digests) == 5
    assert tensor_digest(torch.eye(3)[:, ::2]) == tensor_digest(torch.eye(3)[:, ::2].contiguous())


def test_settings_do_not_depend_on_order():
    assert settings_fingerprint({"a": 1, "b": [2]}) == settings_fingerprint({"b": [2], "a": 1})
    assert settings_fingerprint({"a": 1}) != settings_fingerprint({"a": 2})


def test_a_row_is_hashed_alike_in_any_batch():
    x = torch.randn(5, 2)
    whole = input_digests({"x": x, "t": list("abcde")}, 5)
    assert (whole[2:4] == input_digests({"x": x[2:4], "t": ["c", "d"]}, 2)).all()
    assert len({row.tobytes() for row in whole}) == 5


def test_all_parts_that_differ_are_named():
    recorded = {"weights": "a", "preprocessing": "b", "inputs": "c"}
    check_fingerprint(recorded, {"weights": "a", "preprocessing": "b"}, "here")
    with pytest.raises(StaleFingerprintError, match=r"bank here .* other 'weights' and 'preprocessing'"):
        check_fingerprint(recorded, {"weights": "x", "preprocessing": "y"}, "here")
