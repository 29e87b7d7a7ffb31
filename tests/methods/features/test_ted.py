"""TED: what each stage moves, value by value."""

from __future__ import annotations

import torch
from steps import step_batch
from torch.nn import functional as F

from limbeck.functional import distillation_kl
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

SHAPES = Shapes(
    Side(2, 3, {"a": (4, 5), "b": (6, 2, 2)}), {"teacher": Side(2, 3, hidden={"x": (4, 7), "y": (3,)})}
)
LAYERS = {"layers": ["a=x", "b=y"]}


def world(stage: str, **config: object):
    torch.manual_seed(0)
    plan = plan_method("ted", {**LAYERS, "stage": stage, **config})
    method = plan.cls(plan.config, SHAPES)
    ours = {k: torch.randn(3, *shape, requires_grad=True) for k, shape in SHAPES.student.hidden.items()}
    theirs = {k: torch.randn(2, *shape, requires_grad=True) for k, shape in SHAPES.teacher.hidden.items()}
    logits = torch.randn(3, 3, requires_grad=True)
    said = TeacherOutput(hidden_states=theirs, logits=torch.randn(2, 3))
    out = StudentOutput(torch.randn(3, 2), logits, ours)
    b = step_batch(out, said, pairs=[1, -1, 0], labels=[2, 1, -100])
    return method, b, ours, theirs, said


def test_filters_learn_the_task_of_held_networks():
    method, b, ours, theirs, said = world("filters", width=4)
    found = method.losses(b)
    low, high = ours["a"], ours["b"].flatten(2).mean(2)
    wanted = [
        F.cross_entropy(head(made)[:2], torch.tensor([2, 1]), reduction="sum")
        for head, made in zip(method.heads_s, (method.ours[0](low).mean(1), method.ours[1](high)))
    ]
    torch.testing.assert_close(found["student_filter"], sum(wanted) / 2)
    classes = torch.tensor([2, int(said.logits[0].argmax())])  # the second row has no label
    made = method.theirs[0](theirs["x"][[1, 0]]).mean(1), method.theirs[1](theirs["y"][[1, 0]])
    wanted = [F.cross_entropy(h(m), classes, reduction="sum") for h, m in zip(method.heads_t, made)]
    torch.testing.assert_close(found["teacher_filter"], sum(wanted) / 2)
    sum(found.values()).backward()
    assert all(x.grad is None for x in (*ours.values(), *theirs.values(), b.student.logits))
    assert all(p.grad is not None for p in method.parameters())


def test_the_student_matches_what_the_teachers_filters_let_pass():
    method, b, ours, theirs, said = world("student")
    found = method.losses(b)
    tokens = (method.ours[0](ours["a"][[0, 2]]) - method.theirs[0](theirs["x"][[1, 0]])).square()
    vectors = method.ours[1](ours["b"][[0, 2]].flatten(2).mean(2)) - method.theirs[1](theirs["y"][[1, 0]])
    wanted = (tokens.mean((1, 2)).sum() + vectors.square().mean(1).sum()) / 2
    torch.testing.assert_close(found["match"], wanted)
    torch.testing.assert_close(
        found["distillation"],
        distillation_kl(b.student.logits[[0, 2]], said.logits[[1, 0]], temperature=2.0, reduction="sum"),
    )
    found["match"].backward()
    assert all(x.grad is not None for x in ours.values())
    assert all(x.grad is None for x in theirs.values())
    assert all(p.grad is None for p in method.theirs.parameters())
    assert not len(method.heads_s)


def test_a_filter_may_have_two_layers():
    method, *_ = world("student", nonlinear=True)
    assert [type(part).__name__ for part in method.ours[0]] == ["Linear", "GELU", "Linear"]
