"""Attention maps made of queries and keys, mixed over heads and layers, and what is refused."""

from __future__ import annotations

import pytest
import torch
from steps import step_batch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

CONFIG = {"maps": ["q*k", "shown"], "teacher_maps": ["a*b"], "heads": 2, "teacher_heads": 5}
SHAPES = Shapes(
    Side(2, 3, {"q": (4, 6), "k": (4, 6), "shown": (1, 4, 4)}),
    {"teacher": Side(hidden={"a": (4, 10), "b": (4, 10)})},
)


def made(**changed: object):
    plan = plan_method("a2d", CONFIG | changed)
    return plan.cls(plan.config, SHAPES)


def states() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    sides = SHAPES.student.hidden, SHAPES.teacher.hidden
    ours, theirs = ({name: torch.randn(2, *shape) for name, shape in side.items()} for side in sides)
    ours["shown"] = ours["shown"].softmax(-1)
    return {name: x.requires_grad_() for name, x in ours.items()}, theirs


def test_heads_of_all_layers_are_mixed_to_the_teachers():
    method, (ours, theirs) = made(), states()
    assert method.align.weight.shape == (5, 3, 1, 1)
    out = StudentOutput(torch.randn(2, 2), torch.randn(2, 3), ours)
    found = method.losses(step_batch(out, TeacherOutput(hidden_states=theirs), pairs=[1, 0]))["alignment"]
    heads = [(ours["q"][..., i : i + 3] @ ours["k"][..., i : i + 3].mT / 3**0.5).softmax(-1) for i in (0, 3)]
    mixed = method.align(torch.cat([torch.stack(heads, 1), ours["shown"]], 1))
    taught = torch.stack(
        [
            (theirs["a"][..., i : i + 2] @ theirs["b"][..., i : i + 2].mT / 2**0.5).softmax(-1)
            for i in range(0, 10, 2)
        ],
        1,
    ).flip(0)
    wanted = F.kl_div(mixed.flatten(2).log_softmax(-1), taught.flatten(2).softmax(-1), reduction="sum")
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(found, L.aligned_map_kl(mixed, taught, reduction="sum"))
    found.backward()
    assert all(x.grad is not None and x.grad.any() for x in ours.values())


def test_padding_counts_nothing():
    method, (ours, theirs) = made(), states()
    b = step_batch(
        StudentOutput(torch.randn(2, 2), torch.randn(2, 3), ours),
        TeacherOutput(hidden_states=theirs),
        pairs=[0, 1],
    )
    b.inputs["attention_mask"] = torch.tensor([[1, 1, 1, 0], [1] * 4])
    method.losses(b)["alignment"].backward()
    assert ours["q"].grad[0, :3].any()
    assert not ours["q"].grad[0, 3].any()
    assert not ours["k"].grad[0, 3].any()


def test_what_is_refused():
    with pytest.raises(ConfigError, match="name them in maps and teacher_maps"):
        made(maps=[])
    with pytest.raises(ConfigError, match=r"'q' of the student gives \[4, 6\] a row; wanted is QUERY\*KEY"):
        made(maps=["q"])
    with pytest.raises(ConfigError, match="a width that 4 heads divide"):
        made(heads=4)
    ours, theirs = states()
    out = StudentOutput(torch.randn(2, 2), torch.randn(2, 3), ours)
    short = {name: x[:, :3] for name, x in theirs.items()}
    with pytest.raises(ConfigError, match=r"over \[4, 4\] tokens and the teacher's over \[3, 3\]"):
        made().losses(step_batch(out, TeacherOutput(hidden_states=short), pairs=[1, 0]))
