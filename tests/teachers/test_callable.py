"""A function teaches, and what it returns is checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.banks import Bank
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.signals import TeacherOutput
from limbeck.teachers import CallableTeacher


def captions(inputs):
    return {"text": [f"a picture of {name}" for name in inputs["name"]]}


def test_text_from_text(tmp_path):
    rows = [{"id": i, "name": n} for i, n in enumerate(["fog", "rain", "hail"])]
    bank = Bank.build(tmp_path / "b", CallableTeacher(captions, access="text"), rows)
    assert bank.lookup([2, 0]).text == ["a picture of hail", "a picture of fog"]
    assert bank.access == "text"
    assert bank.signals == {"text"}


def test_arrays_and_outputs():
    assert CallableTeacher(lambda i: {"features": np.ones((1, 2))})({}).features.shape == (1, 2)
    out = TeacherOutput(logits=torch.ones(1, 2))
    assert CallableTeacher(lambda i: out)({}) is out
    hidden = CallableTeacher(lambda i: {"hidden_states": {"a": [[1.0]]}})({}).hidden_states
    assert torch.equal(hidden["a"], torch.ones(1, 1))


def test_no_gradient():
    weight = torch.ones(2, 2, requires_grad=True)
    assert not CallableTeacher(lambda i: {"features": i["x"] @ weight})(
        {"x": torch.ones(1, 2)}
    ).features.requires_grad


def test_wrong_answers():
    with pytest.raises(ConfigError, match="returned Tensor"):
        CallableTeacher(lambda i: torch.ones(1))({})
    with pytest.raises(UnknownNameError, match="did you mean 'features'"):
        CallableTeacher(lambda i: {"feature": 1})({})
    with pytest.raises(ConfigError, match="did you mean 'logits'"):
        CallableTeacher(captions, access="logit")


def test_fingerprint():
    named = CallableTeacher(captions, version="gpt-4 2024-05").fingerprint()
    assert named == {"function": "captions", "version": "gpt-4 2024-05"}
    assert CallableTeacher(captions).fingerprint() == CallableTeacher(captions).fingerprint()
    assert CallableTeacher(captions).fingerprint() != CallableTeacher(lambda i: {"text": []}).fingerprint()
