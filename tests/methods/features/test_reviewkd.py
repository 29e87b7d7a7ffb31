"""Knowledge review at named layers: its own formula, what trains, no pairs."""

from __future__ import annotations

import torch
from steps import step_batch

from limbeck import functional as L
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

SHAPES = Shapes(
    Side(2, 3, {"a": (5, 8, 8), "b": (4, 4, 4)}), {"teacher": Side(hidden={"x": (3, 6, 4), "y": (6, 2, 2)})}
)


def made():
    torch.manual_seed(0)
    plan = plan_method("reviewkd", {"layers": ["a=x", "b=y"], "width": 4})
    return plan.cls(plan.config, SHAPES)


def batch(pairs=(1, -1, 0)):
    ours = {
        "a": torch.randn(3, 5, 8, 8, requires_grad=True),
        "b": torch.randn(3, 4, 4, 4, requires_grad=True),
    }
    theirs = {"x": torch.randn(2, 3, 6, 4), "y": torch.randn(2, 6, 2, 2)}
    out = StudentOutput(torch.randn(3, 2), torch.randn(3, 3), ours)
    return step_batch(out, TeacherOutput(hidden_states=theirs), pairs=pairs), ours, theirs


def test_each_stage_against_its_own():
    method, (b, ours, theirs) = made(), batch()
    target = [theirs["x"][[1, 0]], theirs["y"][[1, 0]]]
    made_up = method.review([ours["a"][[0, 2]], ours["b"][[0, 2]]], [(6, 4), (2, 2)])
    expected = sum(L.pyramid_mse(s, t, reduction="sum") for s, t in zip(made_up, target))
    found = method.losses(b)["review"]
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(x.grad[[0, 2]].any() and not x.grad[1].any() for x in ours.values())
    assert all(p.grad is not None for p in method.parameters())


def test_without_pairs_nothing_but_a_path_to_all_that_trains():
    method, (b, _, _) = made(), batch((-1, -1, -1))
    found = method.losses(b)["review"]
    found.backward()
    assert float(found.detach()) == 0
    assert all(p.grad is not None and not p.grad.any() for p in method.parameters())
