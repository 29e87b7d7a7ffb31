"""Relations of tokens at named layers: rows of unequal lengths, and what is refused."""

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


def made(heads=2, student=(5, 6), teacher=(5, 4)):
    plan = plan_method("token_relations", {"layers": ["a=x"], "heads": heads})
    shapes = Shapes(Side(2, 3, {"a": student}), {"teacher": Side(hidden={"x": teacher})})
    return plan.cls(plan.config, shapes)


def batch(n_tokens=5):
    ours = torch.randn(3, 5, 6, requires_grad=True)
    theirs = torch.randn(2, n_tokens, 4)
    out = StudentOutput(torch.randn(3, 2), torch.randn(3, 3), {"a": ours})
    b = step_batch(out, TeacherOutput(hidden_states={"x": theirs}), pairs=[1, -1, 0])
    b.inputs["attention_mask"] = torch.tensor([[1, 1, 1, 0, 0], [1] * 5, [1] * 5])
    return b, ours, theirs


def test_every_row_counts_alike_whatever_its_length():
    b, ours, theirs = batch()
    found = made().losses(b)["relation"]
    short = L.token_relations(ours[:1, :3], theirs[1:, :3], heads=2)
    long = L.token_relations(ours[2:], theirs[:1], heads=2)
    torch.testing.assert_close(found, short + long)
    found.backward()
    assert ours.grad[0, :3].any()
    assert not ours.grad[0, 3:].any()


def test_what_is_refused_before_training():
    with pytest.raises(ConfigError, match=r"'x' of the teacher gives \[7\] a row, and relations are between"):
        made(teacher=(7,))
    with pytest.raises(ConfigError, match="The width 4 of 'x' cannot be cut into 3 relation heads"):
        made(heads=3)


def test_other_tokens_are_refused():
    b, _, _ = batch(4)
    with pytest.raises(ConfigError, match="show 5 and 4 tokens of a row"):
        made().losses(b)
