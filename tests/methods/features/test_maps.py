"""Maps at named layers: pairs, grids, and what is refused."""

from __future__ import annotations

import pytest
import torch
from steps import step_batch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.features.maps import Maps
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

LAYERS = {"layers": ["a=x", "b=y"]}
SHAPES = Shapes(
    Side(2, 3, {"a": (5, 4, 6), "b": (4, 2, 2)}), {"teacher": Side(hidden={"x": (7, 2, 8), "y": (3, 2, 2)})}
)


@pytest.mark.parametrize(("name", "function"), [("at", L.attention_transfer), ("nst", L.neuron_selectivity)])
def test_pairs_of_layers_on_one_grid(name, function):
    plan = plan_method(name, LAYERS)
    method = plan.cls(plan.config, SHAPES)
    ours = {"a": torch.randn(3, 5, 4, 6, requires_grad=True), "b": torch.randn(3, 4, 2, 2)}
    theirs = {"x": torch.randn(2, 7, 2, 8), "y": torch.randn(2, 3, 2, 2)}
    out = StudentOutput(torch.randn(3, 2), torch.randn(3, 3), ours)
    found = method.losses(step_batch(out, TeacherOutput(hidden_states=theirs), pairs=[1, -1, 0]))["match"]
    rows, partners = [0, 2], [1, 0]
    first = function(
        F.adaptive_avg_pool2d(ours["a"][rows], (2, 6)),
        F.adaptive_avg_pool2d(theirs["x"][partners], (2, 6)),
        reduction="sum",
    )
    second = function(ours["b"][rows], theirs["y"][partners], reduction="sum")
    torch.testing.assert_close(found, (first + second) / 2)
    found.backward()
    assert ours["a"].grad[rows].abs().sum() > 0
    assert not ours["a"].grad[1].any()


def test_without_pairs_nothing_but_a_path():
    plan = plan_method("at", {"layers": ["b=y"]})
    ours = torch.randn(2, 4, 2, 2, requires_grad=True)
    out = StudentOutput(torch.randn(2, 2), torch.randn(2, 3), {"b": ours})
    said = TeacherOutput(hidden_states={"y": torch.randn(1, 3, 2, 2)})
    found = plan.cls(plan.config, SHAPES).losses(step_batch(out, said, pairs=[-1, -1]))["match"]
    found.backward()
    assert float(found.detach()) == 0
    assert not ours.grad.any()


def test_states_of_tokens_are_no_maps():
    plan = plan_method("nst", {"layers": ["a=x"]})
    shapes = Shapes(Side(2, 3, {"a": (9, 5)}), {"teacher": Side(hidden={"x": (7, 2, 8)})})
    with pytest.raises(ConfigError, match=r"'a' of the student gives \[9, 5\] a row, .* or take 'hints'"):
        Maps(plan.config, shapes)


def test_channels_may_lie_on_other_grids_and_must_be_as_many():
    shapes = Shapes(Side(2, 3, {"a": (5, 4, 6)}), {"teacher": Side(hidden={"x": (5, 2, 2), "y": (3, 2, 2)})})
    plan = plan_method("ickd", {"layers": ["a=x"]})
    ours, theirs = torch.randn(2, 5, 4, 6), torch.randn(2, 5, 2, 2)
    b = step_batch(
        StudentOutput(torch.randn(2, 2), torch.randn(2, 3), {"a": ours}),
        TeacherOutput(hidden_states={"x": theirs}),
        pairs=[1, 0],
    )
    expected = L.channel_similarity(ours, theirs.flip(0), reduction="sum")
    torch.testing.assert_close(plan.cls(plan.config, shapes).losses(b)["match"], expected)
    plan = plan_method("ickd", {"layers": ["a=y"]})
    with pytest.raises(ConfigError, match="as many of the student as of the teacher, not 5 and 3"):
        Maps(plan.config, shapes)
