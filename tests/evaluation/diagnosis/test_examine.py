from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from limbeck.errors import NonFiniteError
from limbeck.evaluation.diagnosis.examine import Alone, known_classes
from limbeck.evaluation.diagnosis.reach import reach
from limbeck.evaluation.diagnosis.student_rows import shown
from limbeck.students.student import Student


def test_the_truth_of_fifty_linked_rows_is_looked_up_and_labels_come_first(case: Callable[..., Any]) -> None:
    made = case()
    train, truth = made.task.splits["train"], made.task.truth
    found = reach(made.task.teacher.link, made.bank, train)
    assert int((known_classes(train, found, None) >= 0).sum()) == 0
    classes = known_classes(train, found, truth)
    assert int((classes >= 0).sum()) == 50
    chosen = classes >= 0
    assert bool((classes[chosen] == truth[found.rows[chosen]]).all())


def test_a_trained_student_is_the_measure_and_the_judge(case: Callable[..., Any]) -> None:
    made = case(labels=5)
    perfect = Student(nn.Sequential(nn.Identity(), nn.Linear(8, 4)))
    with torch.no_grad():
        perfect.model[1].weight.copy_(8 * torch.eye(4, 8))
    found = made.examined(alone=Alone(0.9, perfect))
    assert found.alone_from == "a training without a teacher"
    assert found.evidence.room.alone == 0.9
    assert found.evidence.wrong.high < 0.2


def test_wide_features_are_projected(case: Callable[..., Any]) -> None:
    made = case(labels=2)
    torch.manual_seed(0)
    made.student = Student(nn.Sequential(nn.Linear(8, 3000), nn.Tanh(), nn.Linear(3000, 4)))
    found = made.examined(alone=0.6)
    assert found.features.shape[1] == 3000
    assert found.evidence.pilot.gain > 0.05


def test_nothing_of_a_student_changes_and_nan_is_named(case: Callable[..., Any]) -> None:
    made = case()
    rows = made.task.splits["train"]
    made.student.train()
    before = {name: value.clone() for name, value in made.student.state_dict().items()}
    out = shown(made.student, rows, [3, 5])
    assert out.features.shape == (2, 32)
    assert made.student.training
    assert all(torch.equal(before[name], value) for name, value in made.student.state_dict().items())
    rows.inputs["x"][7] = float("nan")
    with pytest.raises(NonFiniteError, match=r"1 rows are NaN or infinite before any training \('s7'\)"):
        shown(made.student, rows)
