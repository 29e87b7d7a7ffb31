"""Classification metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.errors import DataError, NonFiniteError
from limbeck.evaluation import classification_metrics


def test_by_hand() -> None:
    # confidence 0.9 in every row, three of four right: predictions 0, 0, 1, 1 for labels 0, 1, 1, 1
    logits = torch.tensor([[math.log(9), 0.0], [math.log(9), 0.0], [0.0, math.log(9)], [0.0, math.log(9)]])
    found = classification_metrics(logits, torch.tensor([0, 1, 1, 1]))
    assert found["accuracy"] == pytest.approx(0.75)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["calibration_error"] == pytest.approx(0.15, abs=1e-6)


def test_unlabelled_rows_and_absent_classes_are_not_scored() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0], [5.0, 0.0, 0.0]], dtype=torch.float64)
    found = classification_metrics(logits, torch.tensor([0, 1, -100]))
    assert found == {"accuracy": 1.0, "macro_f1": 1.0, "calibration_error": pytest.approx(0.0)}


def test_bad_input() -> None:
    with pytest.raises(DataError, match="every label is -100"):
        classification_metrics(torch.zeros(2, 3), torch.tensor([-100, -100]))
    with pytest.raises(DataError, match=r"0\.\.2 .*found 3"):
        classification_metrics(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(DataError, match="found -1"):
        classification_metrics(torch.zeros(2, 3), torch.tensor([0, -1]))
    with pytest.raises(DataError, match=r"\[2, 3\] and \[3\]"):
        classification_metrics(torch.zeros(2, 3), torch.tensor([0, 0, 0]))
    with pytest.raises(NonFiniteError, match="1 rows"):
        classification_metrics(torch.tensor([[0.0, math.nan], [0.0, 1.0]]), torch.tensor([0, 1]))
