"""What fails in a user's own code is told by its function and line."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import DataError, OwnCodeError
from limbeck.signals.own_code import of_function, own_code
from limbeck.teachers import CallableTeacher


def helper(rows):
    return torch.zeros(2, 3) @ rows


def asks(inputs):
    return {"features": helper(inputs["x"])}


LINE = inspect.getsourcelines(helper)[1] + 1


def test_the_innermost_line_of_ones_own_is_named():
    with pytest.raises(
        OwnCodeError, match=rf"'asks' failed at test_own_code.py, line {LINE} \(helper\): Runtime"
    ):
        CallableTeacher(asks)({"x": torch.zeros(2, 3)})


def test_errors_of_ours_stay_what_they_are():
    def refuses(inputs):
        raise DataError("The row is empty.")

    with pytest.raises(DataError, match="row is empty"):
        CallableTeacher(refuses)({"x": torch.zeros(1)})


def test_an_error_without_words():
    with (
        pytest.raises(OwnCodeError, match=r"failed at .*: KeyError\.$"),
        own_code("it", of_function(SimpleNamespace())),
    ):
        raise KeyError
