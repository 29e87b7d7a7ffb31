"""DMAE against the two losses written out patch by patch, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from steps import step_batch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.features.dmae import DMAE
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.changes.visible import Visible
from limbeck.students.output import StudentOutput

SMALL = {"decoder_width": 8, "decoder_layers": 1, "decoder_heads": 2, "layer": "a=b", "tokens": "e=f"}


def made(teacher: tuple[int, ...] = (17, 6), picture: tuple[int, ...] = (2, 8, 8), **config: Any) -> DMAE:
    torch.manual_seed(0)
    plan = plan_method("dmae", {**SMALL, **config})
    student = Side(5, 3, {"a": (17, 5), "vit.layernorm": (17, 5)}, {"x": picture})
    method = plan.cls(plan.config, Shapes(student, {"teacher": Side(hidden={"b": teacher})}))
    assert isinstance(method, DMAE)
    return method.double()


def test_terms_are_those_of_the_authors_code() -> None:
    """L1 between states at unit length, a mean over all entries; squares of standardised hidden patches."""
    method = made(weight_supervised=0.0)
    assert set(method.plan.units) == {"match", "reconstruction"}
    draw = torch.Generator().manual_seed(1)
    ours = torch.randn(3, 17, 5, dtype=torch.float64, generator=draw, requires_grad=True)
    theirs = torch.randn(3, 17, 6, dtype=torch.float64, generator=draw, requires_grad=True)
    asked: dict[str, Visible] = {}

    def states(name: str, inputs: dict[str, Tensor], visible: Visible) -> dict[str, Tensor]:
        asked[name] = visible
        whole = ours if name == "student" else theirs
        tokens = torch.cat([torch.zeros(len(whole), 1, dtype=torch.long), 1 + visible.index], 1)
        seen = whole.gather(1, tokens[:, :, None].expand(-1, -1, whole.shape[2]))
        return {"a": seen, "vit.layernorm": 2 * seen} if name == "student" else {"b": seen}

    b = step_batch(
        StudentOutput(logits=torch.zeros(3, 3)), TeacherOutput(inputs={}), pairs=range(3), states=states
    )
    b.inputs = {"x": torch.randn(3, 2, 8, 8, dtype=torch.float64, generator=draw)}
    b.generator = torch.Generator().manual_seed(0)
    found = method.losses(b)
    index = asked["student"].index
    assert torch.equal(index, asked["teacher"].index)
    assert (asked["student"].at, asked["teacher"].at) == ("e", "f")
    assert index.shape == (3, 4)  # a quarter of 16
    assert all(len(set(row)) == 4 for row in index.tolist())
    match = pixels = torch.zeros((), dtype=torch.float64)
    for i in range(3):
        tokens = [0, *(1 + j for j in index[i].tolist())]
        s, t = method.project(ours[i, tokens]), theirs[i, tokens].detach()
        gaps = [a / a.norm() - c / c.norm() for a, c in zip(s, t)]
        match = match + torch.stack(gaps).abs().mean()
        guess = method.decoder(2 * ours[i : i + 1, tokens], index[i : i + 1])[0]
        hidden = [j for j in range(16) if j not in index[i]]
        errors = []
        for j in hidden:
            row, column = divmod(j, 4)
            square = b.inputs["x"][i, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            wanted = square.permute(1, 2, 0).flatten()
            wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6).sqrt()
            errors.append((guess[j] - wanted).square().mean())
        pixels = pixels + torch.stack(errors).mean()
    for term, wanted in (("match", match), ("reconstruction", pixels)):
        torch.testing.assert_close(found[term], wanted, rtol=1e-6, atol=0)
        (a,), (c,) = (torch.autograd.grad(x, ours, retain_graph=True) for x in (found[term], wanted))
        torch.testing.assert_close(a, c, rtol=1e-6, atol=1e-12)
    assert torch.autograd.grad(found["match"], theirs, allow_unused=True, retain_graph=True) == (None,)
    # the states of the layer reach the match alone, the pixels through the last tokens
    assert torch.autograd.grad(found["reconstruction"], method.project[0].weight, allow_unused=True) == (
        None,
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"teacher": (26, 6)}, r"\[17, 5\] a row and 'b' of the teacher \[26, 6\]; both must give \[1 \+ patches"),
        ({"picture": (2, 8, 9)}, "16 square patches do not fill pictures of 8 x 9"),
        ({"picture": (2, 64)}, r"one picture \[channels, height, width\] is wanted"),
        ({"decoder_width": 10}, "decoder_width=10 must be divisible by 4"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(**changed)


def test_the_student_sees_whole_pictures_for_labels_alone() -> None:
    declared = plan_method("dmae", SMALL).declared
    assert (declared.student, declared.teachers) == ("always", "asked")
    assert declared.layers.student == ("a", "vit.layernorm")
    assert plan_method("dmae", {**SMALL, "weight_supervised": 0.0}).declared.student == "asked"
