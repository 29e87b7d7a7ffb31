"""MST-Distill: who is chosen, what the gate and the masks learn from, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from steps import step_batch
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.functional import distillation_kl
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.signals.teacher_rows import TeacherRows
from limbeck.students.output import StudentOutput

SHAPES = Shapes(Side(2, 3), {"a": Side(4, 3), "b": Side(5, 3)})
PAIRS = {"a": [0, 1, -1, -1], "b": [-1, 0, 1, -1]}  # the last row has no teacher


def world(**config: Any) -> tuple[Any, Any, torch.Tensor, dict[str, TeacherOutput]]:
    torch.manual_seed(0)
    plan = plan_method("mst_distill", {"masks": 2, "mask_width": 4, **config})
    method = plan.cls(plan.config, SHAPES)
    logits = torch.randn(4, 3, requires_grad=True)
    said = {
        name: TeacherOutput(
            features=torch.randn(2, side.width, requires_grad=True),
            logits=torch.randn(2, 3),
            head=(torch.randn(3, side.width), torch.randn(3)),
        )
        for name, side in SHAPES.teachers.items()
    }
    b = step_batch(StudentOutput(torch.randn(4, 2), logits), labels=[0, -100, -100, -100])
    b.teachers = {
        name: TeacherRows.of(said[name], pair_index=torch.tensor(PAIRS[name]), n=4) for name in said
    }
    return method, b, logits, said


def shown(method: Any, said: dict[str, TeacherOutput]) -> dict[str, list[torch.Tensor]]:
    """Logits of each specialised teacher of its two rows."""
    found = {}
    for name, out in said.items():
        weight, bias = out["head"]
        x = out["features"].detach()
        found[name] = [(x * mask(x)) @ weight.T + bias for mask in method.masks[name]]
    return found


def test_each_row_learns_from_the_teacher_that_the_gate_ranks_first() -> None:
    method, b, logits, said = world()
    found, experts = method.losses(b), shown(method, said)
    gate = method.gate(logits[:3]).softmax(1)
    said_of = [
        {e: experts["a"][e][0] for e in (0, 1)},
        {**{e: experts["a"][e][1] for e in (0, 1)}, **{2 + e: experts["b"][e][0] for e in (0, 1)}},
        {2 + e: experts["b"][e][1] for e in (0, 1)},
    ]
    total = torch.zeros(())
    for i, known in enumerate(said_of):
        best = max(known, key=gate[i].tolist().__getitem__)
        total = total + distillation_kl(
            logits[i : i + 1], known[best][None], temperature=4.0, reduction="sum"
        )
    torch.testing.assert_close(found["distillation"], total)
    mean = gate.mean(0)
    torch.testing.assert_close(
        found["balance"], F.kl_div(mean.log(), torch.full((4,), 0.25), reduction="sum") / 4
    )
    assert set(found) == {"supervised", "distillation", "balance"}


def test_the_gate_learns_from_the_balance_alone_and_the_masks_are_held() -> None:
    method, b, logits, said = world()
    found = method.losses(b)
    found["distillation"].backward(retain_graph=True)
    assert all(p.grad is None or not p.grad.any() for p in method.gate.parameters())
    assert logits.grad is not None
    assert not logits.grad[3].any()
    found["balance"].backward()
    assert all(p.grad is not None and p.grad.any() for p in method.gate.parameters())
    assert all(p.grad is None for p in method.masks.parameters())
    assert all(out["features"].grad is None for out in said.values())


def test_masks_learn_towards_the_held_student() -> None:
    method, b, logits, said = world(stage="masks")
    found = method.losses(b)
    assert set(found) == {"mask"}
    rows = {"a": [0, 1], "b": [1, 2]}
    wanted = sum(
        distillation_kl(x, logits[rows[name]], temperature=4.0, reduction="sum")
        for name, both in shown(method, said).items()
        for x in both
    )
    torch.testing.assert_close(found["mask"], wanted)
    found["mask"].backward()
    assert logits.grad is None
    assert all(p.grad is not None for p in method.masks.parameters())


def test_more_chosen_than_know_a_row() -> None:
    """Of three chosen, the two that know the first row share it."""
    method, b, logits, said = world(chosen=3)
    found = method.losses(b)["distillation"]
    assert math.isfinite(float(found.detach()))
    first = sum(distillation_kl(logits[:1], x[:1], temperature=4.0) for x in shown(method, said)["a"]) / 2
    alone = {"a": torch.tensor([0, -1, -1, -1]), "b": torch.full((4,), -1)}
    b.teachers = {name: TeacherRows.of(said[name], pair_index=alone[name], n=4) for name in said}
    torch.testing.assert_close(method.losses(b)["distillation"], first)


def test_too_many_chosen_are_refused() -> None:
    with pytest.raises(ConfigError, match="chooses 5 of 4 specialised teachers"):
        world(chosen=5)
    with pytest.raises(ConfigError, match="it is even, not 5"):
        world(mask_width=5)
