"""KD-SVD and NORM as methods: channels that differ, groups, grids, and what is refused."""

from __future__ import annotations

import pytest
import torch
from steps import step_batch

from limbeck.errors import ConfigError
from limbeck.functional import singular_vector_gap
from limbeck.layers import Widened
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

SHAPES = Shapes(
    Side(2, 3, {"a": (5, 4, 6), "b": (4, 2, 2), "w": (6, 4, 4)}),
    {"teacher": Side(hidden={"x": (5, 2, 3), "y": (3, 2, 2)})},
)


def student(**states: torch.Tensor) -> StudentOutput:
    return StudentOutput(torch.randn(2, 2), torch.randn(2, 3), states)


def test_singular_vectors_of_layers_of_other_widths_and_positions() -> None:
    plan = plan_method("kd_svd", {"layers": ["a=x", "b=y"], "vectors": 2})
    method = plan.cls(plan.config, SHAPES)
    assert set(method.project) == {"1"}  # 4 channels to 3; 5 are 5 already
    ours = {name: torch.randn(2, *SHAPES.student.hidden[name], requires_grad=True) for name in ("a", "b")}
    theirs = {name: torch.randn(2, *SHAPES.teacher.hidden[name], requires_grad=True) for name in ("x", "y")}
    found = method.losses(step_batch(student(**ours), TeacherOutput(hidden_states=theirs), pairs=[1, 0]))
    low = torch.einsum("oc,nchw->nohw", method.project["1"].weight, ours["b"])
    wanted = singular_vector_gap(
        [ours["a"], low], [theirs["x"].flip(0), theirs["y"].flip(0)], vectors=2, reduction="sum"
    )
    torch.testing.assert_close(found["correlation"], wanted)
    found["correlation"].backward()
    assert all(x.grad is not None and x.grad.any() for x in ours.values())
    assert all(x.grad is None for x in theirs.values())


def test_one_layer_has_no_neighbour() -> None:
    plan = plan_method("kd_svd", {"layers": ["a=x"]})
    with pytest.raises(ConfigError, match="name two or more"):
        plan.cls(plan.config, SHAPES)


def test_every_group_reproduces_the_teachers_map() -> None:
    plan = plan_method("norm", {"layer": "w=y"})
    method = plan.cls(plan.config, SHAPES)
    ours, theirs = torch.randn(2, 6, 4, 4, requires_grad=True), torch.randn(2, 3, 2, 2, requires_grad=True)
    found = method.losses(
        step_batch(student(w=ours), TeacherOutput(hidden_states={"y": theirs}), pairs=[0, 1])
    )
    pooled = ours.reshape(2, 2, 3, 2, 2, 2, 2).amax((4, 6))  # row, group, channel, then 2 by 2 of 2 by 2
    wanted = (pooled - theirs[:, None]).square().sum() / (3 * 2 * 2)
    torch.testing.assert_close(found["match"], wanted)
    found["match"].backward()
    assert ours.grad is not None
    assert theirs.grad is None


def test_widths_that_are_no_multiple_are_refused() -> None:
    plan = plan_method("norm", {"layer": "a=y"})
    with pytest.raises(
        ConfigError, match=r"has 5 channels, which is no multiple of the teacher's 3; .*widened: 12"
    ):
        plan.cls(plan.config, SHAPES)


def test_a_widened_map_is_the_map_and_what_comes_back() -> None:
    block, x = Widened(3, 12).eval(), torch.randn(2, 3, 4, 4)
    assert block.wide(x).shape == (2, 12, 4, 4)
    torch.testing.assert_close(block(x) - x, block.narrow(block.wide(x)))
