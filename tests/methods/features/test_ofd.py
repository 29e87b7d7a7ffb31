"""Margin ReLU and partial squares at named layers: margins from what was seen, weights of layers."""

from __future__ import annotations

import pytest
import torch
from steps import step_batch

from limbeck import functional as L
from limbeck.errors import ConfigError
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

SHAPES = Shapes(
    Side(2, 3, {"a": (5, 4, 4), "b": (4, 2, 2)}), {"teacher": Side(hidden={"x": (3, 4, 4), "y": (6, 2, 2)})}
)


def made(**config):
    torch.manual_seed(0)
    plan = plan_method("ofd", {"layers": ["a=x", "b=y"], **config})
    return plan.cls(plan.config, SHAPES)


def batch(seed: int = 0, pairs=(1, -1, 0)):
    generator = torch.Generator().manual_seed(seed)
    ours = {
        name: torch.randn(3, *shape, generator=generator)
        for name, shape in (("a", (5, 4, 4)), ("b", (4, 2, 2)))
    }
    theirs = {
        name: torch.randn(2, *shape, generator=generator)
        for name, shape in (("x", (3, 4, 4)), ("y", (6, 2, 2)))
    }
    ours["a"].requires_grad_()
    out = StudentOutput(torch.randn(3, 2), torch.randn(3, 3), ours)
    return step_batch(out, TeacherOutput(hidden_states=theirs), pairs=pairs), ours, theirs


def test_the_deeper_layer_counts_twice_the_other():
    method, (b, ours, theirs) = made(), batch()
    expected = 0.0
    for i, (s, t) in enumerate((("a", "x"), ("b", "y"))):
        target = theirs[t][[1, 0]]
        low = target.clamp(max=0)
        margin = low.sum((0, 2, 3)) / (low < 0).sum((0, 2, 3))
        gap = L.partial_squares(method.connect[i](ours[s][[0, 2]]), target, margin, reduction="sum")
        expected += (0.5, 1.0)[i] * float(gap)
    found = method.losses(b)["match"]
    assert float(found) == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert ours["a"].grad[[0, 2]].any()
    assert not ours["a"].grad[1].any()


def test_margins_are_of_all_that_was_seen_and_part_of_the_checkpoint():
    method = made()
    both = [batch(seed) for seed in (0, 1)]
    for b, _, _ in both:
        method.losses(b)
    seen = torch.cat([theirs["x"][[1, 0]] for _, _, theirs in both]).clamp(max=0)
    torch.testing.assert_close(method.below_0[0], seen.sum((0, 2, 3)))
    assert "below_0" in method.state_dict()


def test_without_pairs_nothing_but_a_path_to_all_that_trains():
    method, (b, ours, _) = made(), batch(pairs=(-1, -1, -1))
    found = method.losses(b)["match"]
    found.backward()
    assert float(found.detach()) == 0
    assert not ours["a"].grad.any()
    assert all(p.grad is not None and not p.grad.any() for p in method.parameters())


def test_tokens_are_no_maps():
    plan = plan_method("ofd", {"layers": ["a=x"]})
    with pytest.raises(ConfigError, match="'a' of the student gives"):
        plan.cls(plan.config, Shapes(Side(2, 3, {"a": (9, 5)}), {"teacher": Side(hidden={"x": (3, 4, 4)})}))
