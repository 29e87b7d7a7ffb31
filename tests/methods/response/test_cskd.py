"""The teacher's answers by place, the share of the whole answer, and the student's grid."""

from __future__ import annotations

import math

import pytest
import torch
from steps import step_batch
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.methods.response.cskd import CSKD, fading, on_grid
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

N, C, K = 3, 4, 5


def made(student: tuple[int, ...], **config: object) -> CSKD:
    torch.manual_seed(0)
    plan = plan_method("cskd", {"layer": "patches=maps", "temperature": 2.0, **config})
    sides = Side(7, C, {"patches": student}), {"teacher": Side(None, None, {"maps": (K, 2, 2)})}
    return plan.cls(plan.config, Shapes(*sides))


@pytest.mark.parametrize(
    ("shape", "first"), [((17, 6), 1), ((16, 6), 0)], ids=["a class token", "patches alone"]
)
@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_tokens_learn_by_place(shape: tuple[int, ...], first: int, progress: float) -> None:
    """Two by two places of a teacher and four by four patches of a student, place by place."""
    method, draw = made(shape), torch.Generator().manual_seed(1)
    tokens, maps = torch.randn(N, *shape, generator=draw), torch.randn(N, K, 2, 2, generator=draw)
    head, bias = torch.randn(C, K, generator=draw), torch.randn(C, generator=draw)
    logits = torch.randn(N, C, generator=draw)
    b = step_batch(
        StudentOutput(logits=logits, hidden_states={"patches": tokens}),
        TeacherOutput(hidden_states={"maps": maps}, head=(head, bias)),
        pairs=range(N),
        progress=progress,
    )
    found = method.losses(b)
    wanted = whole_wanted = 0.0
    for i in range(N):
        dense = torch.einsum("ck,khw->chw", head, maps[i]) + bias[:, None, None]
        whole = head @ maps[i].mean((1, 2)) + bias
        whole_wanted += 4 * float(
            F.kl_div((logits[i] / 2).log_softmax(-1), (whole / 2).softmax(-1), reduction="sum")
        )
        patches = tokens[i, first:].reshape(4, 4, 6)
        for y in range(2):
            for x in range(2):
                ours = method.patch_head(patches[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((0, 1)))
                target = (1 - progress) * dense[:, y, x] + progress * whole
                ours, target = (ours / 2).log_softmax(-1), (target / 2).softmax(-1)
                wanted += 4 * float(F.kl_div(ours, target, reduction="sum"))
    assert float(found["spatial"]) == pytest.approx(wanted, rel=1e-4)
    assert float(found["distillation"]) == pytest.approx(whole_wanted, rel=1e-4)


def test_the_share_of_the_places_fades() -> None:
    for shape in ("linear", "x2", "cos"):
        assert fading(shape, 0.0) == 1
        assert fading(shape, 1.0) == pytest.approx(0, abs=1e-12)
    assert (fading("linear", 0.5), fading("x2", 0.5)) == (0.5, 0.25)
    assert fading("cos", 0.5) == pytest.approx(math.sqrt(0.5))


def test_maps_and_tokens_are_one_grid() -> None:
    maps = torch.randn(2, 3, 4, 4)
    assert torch.allclose(on_grid(maps, (2, 2)), on_grid(maps.flatten(2).movedim(1, -1), (2, 2)))


def test_a_vector_has_no_places() -> None:
    with pytest.raises(ConfigError, match="wanted are the teacher's maps"):
        made((6,))
