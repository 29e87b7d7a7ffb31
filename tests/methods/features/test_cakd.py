"""Cross-architecture KD: grids, class tokens, groups of places, the critic, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from steps import step_batch
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.layers import GroupedLinear
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

STATES = {
    "queries": (10, 4),
    "keys": (10, 4),
    "values": (10, 4),
    "tokens": (10, 6),
}  # a class token and 3 by 3


def made(states: dict[str, tuple[int, ...]] | None = None, maps: tuple[int, ...] = (5, 6, 3), **config: Any):
    plan = plan_method("cakd", {"layer": "a=tokens", "near": 2, "dropout": 0.0, **config})
    return plan.cls(plan.config, Shapes(Side(2, 3, {"a": maps}), {"teacher": Side(hidden=states or STATES)}))


def world() -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 6, 3, requires_grad=True)
    theirs = {name: torch.randn(2, *shape, requires_grad=True) for name, shape in STATES.items()}
    out = StudentOutput(torch.randn(2, 2), torch.randn(2, 3), {"a": maps})
    b = step_batch(out, TeacherOutput(hidden_states=theirs), pairs=[1, 0])
    b.generator = torch.Generator().manual_seed(0)
    return b, maps, theirs


def test_tokens_by_place_without_the_class_token():
    method, (b, maps, theirs) = made(), world()
    found = method.losses(b)
    pooled = F.adaptive_avg_pool2d(maps, (3, 3))
    squares = [0, 0, 1, 0, 0, 1, 2, 2, 3]  # of 2 by 2 places, the last ones cut off
    tokens = torch.stack(
        [
            pooled[:, :, i // 3, i % 3] @ method.to_tokens.weight[g].T + method.to_tokens.bias[g]
            for i, g in enumerate(squares)
        ],
        1,
    )
    taught = theirs["tokens"][[1, 0], 1:]
    torch.testing.assert_close(found["tokens"], (tokens - taught).square().mean((1, 2)).sum())
    shares = method.critic(tokens).sigmoid()
    torch.testing.assert_close(found["adversarial"], (1 - shares).log().mean(1).sum())
    wanted = -(method.critic(taught).sigmoid().log() + (1 - shares).log()).mean()
    torch.testing.assert_close(method.descent_loss(b, "critic"), wanted)


def test_the_teacher_is_held_and_the_student_moves():
    method, (b, maps, theirs) = made(), world()
    for value in method.losses(b).values():
        if value.requires_grad:
            value.backward(retain_graph=True)
    assert maps.grad is not None
    assert maps.grad.any()
    assert all(x.grad is None for x in theirs.values())
    method.zero_grad()
    maps.grad = None
    method.descent_loss(b, "critic").backward()
    assert maps.grad is None
    assert method.to_tokens.weight.grad is None
    assert all(p.grad is not None for p in method.critic.parameters())


def test_every_square_has_a_map():
    layer = GroupedLinear(3, 2, 4, near=4)
    assert layer.weight.shape == (1, 2, 3)
    assert GroupedLinear(3, 2, 14).weight.shape == (16, 2, 3)  # as the paper counts


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"maps": (9, 5)}, "'a' of the student gives \\[9, 5\\] a row, and maps are"),
        ({"states": {**STATES, "tokens": (9, 6)}}, "over one square grid, with or without a class token"),
        ({"states": {**STATES, "keys": (10, 6)}}, "they have 4, 6, 4"),
        ({"heads": 3}, "one width that 3 heads divide"),
    ],
)
def test_what_is_refused(changed: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=words):
        made(**changed)
