"""Agreement and divergence by hand."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.evaluation.agreement import agreement


def test_by_hand() -> None:
    student = torch.tensor([[0.5, 0.5], [0.2, 0.8]]).log()
    teacher = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log()
    found = agreement(student, teacher)
    first = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    second = 0.4 * math.log(0.4 / 0.2) + 0.6 * math.log(0.6 / 0.8)
    assert found["teacher_divergence"] == pytest.approx((first + second) / 2, rel=1e-5)
    assert found["teacher_agreement"] == 1.0
    assert agreement(teacher, teacher) == {
        "teacher_agreement": 1.0,
        "teacher_divergence": pytest.approx(0, abs=1e-6),
    }


def test_a_certain_teacher() -> None:
    teacher = torch.tensor([[0.0, -torch.inf]])
    assert agreement(torch.zeros(1, 2), teacher)["teacher_divergence"] == pytest.approx(math.log(2))
