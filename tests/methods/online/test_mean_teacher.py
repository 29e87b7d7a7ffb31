"""Mean Teacher: which rows are drawn without a teacher, and what the average is compared on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from steps import step_batch

from limbeck.functional import distillation_kl, prediction_mse
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.students.output import StudentOutput
from limbeck.training.streams import streams


def test_all_rows_without_a_label_are_drawn(toy: ModuleType) -> None:
    collate = toy.collator("unpaired", None, needs_ema=True)
    assert streams(collate, has_teacher=False)[1].tolist() == []
    labelled, free = streams(collate, has_teacher=False, unlabelled=True)
    assert labelled.tolist() == list(range(12))
    assert free.tolist() == list(range(12, toy.N))


@pytest.mark.parametrize(("consistency", "function"), [("mse", prediction_mse), ("kl", distillation_kl)])
def test_rows_without_a_label_follow_the_average(consistency: str, function: Callable[..., Any]) -> None:
    plan = plan_method("mean_teacher", {"consistency": consistency})
    method = plan.cls(plan.config, Shapes(Side(2, 3)))
    logits, average = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    batch = step_batch(
        StudentOutput(torch.randn(4, 2), logits),
        labels=[1, -100, -100, 0],
        ema=StudentOutput(torch.randn(4, 2), average),
    )
    found = method.losses(batch)["consistency"]
    torch.testing.assert_close(found, function(logits[1:3], average[1:3], reduction="sum"))
    found.backward()
    assert logits.grad is not None
    assert logits.grad[1:3].any()
    assert not logits.grad[[0, 3]].any()
    assert average.grad is None
