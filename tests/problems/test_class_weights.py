"""Weights of classes in the label loss: by hand, balanced by the training rows, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from raw_files import write_csv
from torch.nn import functional

from limbeck.data.own.own_data import own_data
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.problems.base import Bare, Targets
from limbeck.problems.registry import problem

NAMES = ("rare", "common")
LABELS = Targets(torch.tensor([0, 1, 1, 1, 0]), torch.tensor([True, True, True, True, False]))


def test_balanced_weights_let_all_classes_count_alike():
    posed = problem({"kind": "classification", "class_weights": "balanced"}, NAMES).fitted(LABELS)
    assert posed.class_weights == pytest.approx((2.0, 2 / 3))
    logits = torch.randn(5, 2, generator=torch.manual_seed(0))
    each = functional.cross_entropy(logits, LABELS.values, reduction="none")
    assert posed.loss(Bare(logits), LABELS) == pytest.approx(float(2 * each[0] + 2 / 3 * each[1:4].sum()))
    again = problem(posed.spec(), NAMES)  # as a shipped student has it
    assert again == posed


@pytest.mark.parametrize("weights", [[3.0, 1.0], {"rare": 3.0}])
def test_weights_by_order_or_by_name(weights):
    posed = problem({"kind": "classification", "class_weights": weights}, NAMES)
    assert posed.class_weights == (3.0, 1.0)
    assert posed.fitted(LABELS) == posed


def test_positions_are_balanced_by_their_number():
    posed = problem({"kind": "token_classes", "class_weights": "balanced"}, NAMES)
    rows = Targets(torch.tensor([[0, 1, -100], [1, 1, 1]]), torch.tensor([True, True]))
    assert posed.fitted(rows).class_weights == pytest.approx((2.5, 0.625))


@pytest.mark.parametrize(
    ("weights", "error", "said"),
    [
        ("equal", ConfigError, "class_weights is balanced, or a number"),
        ([1.0], ConfigError, "1 numbers for 2 classes"),
        ([1.0, -1.0], ConfigError, "at least 0"),
        ({"rear": 2.0}, UnknownNameError, "did you mean 'rare'"),
    ],
)
def test_what_is_wrong_is_one_sentence(weights, error, said):
    with pytest.raises(error, match=said):
        problem({"kind": "classification", "class_weights": weights}, NAMES)


def test_weights_that_were_never_fitted_are_refused():
    posed = problem({"kind": "classification", "class_weights": "balanced"}, NAMES)
    with pytest.raises(ConfigError, match="fitted"):
        posed.loss(Bare(torch.zeros(5, 2)), LABELS)


def test_own_data_balance_by_their_training_rows(tmp_path: Path):
    write_csv(tmp_path / "n.csv", ("id", "x", "label"), [(i, i, "ab"[i % 4 == 0]) for i in range(80)])
    task = own_data(
        student={"source": str(tmp_path / "n.csv"), "modality": "table"},
        problem={"kind": "classification", "class_weights": "balanced"},
    )
    counts = torch.bincount(task.splits["train"].labels[task.splits["train"].labels >= 0])
    expected = (counts.sum() / 2 / counts).tolist()
    assert task.splits["train"].problem.class_weights == pytest.approx(expected)
    assert task.splits["validation"].problem == task.splits["train"].problem
