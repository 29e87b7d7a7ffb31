"""Mixtures of rows: what they are made of, and which of them are picked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steps import shapes, step_batch

from limbeck.errors import DataError
from limbeck.methods.registry import plan_method
from limbeck.methods.views.mixed import Mixed, mixtures
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput


def test_mixup_is_a_mean_of_two_rows_and_all_columns_alike() -> None:
    x = torch.randn(6, 3)
    made = mixtures({"a": x, "b": 2 * x}, "mixup", 1.0, np.random.default_rng(0))
    assert torch.allclose(made["b"], 2 * made["a"])
    draw = np.random.default_rng(0)
    other, share = torch.from_numpy(draw.permutation(6)), draw.beta(1.0, 1.0)
    assert torch.allclose(made["a"], share * x + (1 - share) * x[other])


def test_cutmix_puts_one_box_of_another_row_into_each() -> None:
    x = torch.arange(4.0)[:, None, None, None].expand(4, 2, 8, 8)
    sizes = []
    for seed in range(20):
        made = mixtures({"x": x}, "cutmix", 1.0, np.random.default_rng(seed))["x"]
        other = torch.from_numpy(np.random.default_rng(seed).permutation(4))
        changed = made != x
        assert torch.equal(made[changed], x[other][changed])
        box = changed.any(0)[0]
        assert int(box.sum()) == int(box.any(0).sum()) * int(
            box.any(1).sum()
        )  # one box, the same in every row
        sizes.append(int(box.sum()))
    assert min(sizes) < 16 < 32 < max(sizes)


@pytest.mark.parametrize(
    ("value", "mix"), [(torch.ones(2, 3, dtype=torch.long), "mixup"), (torch.ones(2, 3), "cutmix")]
)
def test_what_cannot_be_mixed_is_a_sentence(value: torch.Tensor, mix: str) -> None:
    with pytest.raises(DataError, match=f"cannot be mixed by {mix}"):
        mixtures({"x": value}, mix, 1.0, np.random.default_rng(0))


def test_the_least_sure_mixtures_are_taken() -> None:
    """The teacher is as sure as its input is far from 0."""
    plan = plan_method("mixed", {"candidates": 3})
    method = plan.cls(plan.config, shapes(2, 2, 2))
    assert isinstance(method, Mixed)
    seen: dict[str, torch.Tensor] = {}

    def ask(name: str, inputs: dict[str, torch.Tensor]) -> TeacherOutput:
        seen["all"] = inputs["x"]
        return TeacherOutput(logits=torch.cat([inputs["x"], -inputs["x"]], dim=1))

    def run(inputs: dict[str, torch.Tensor]) -> StudentOutput:
        seen["taken"] = inputs["x"]
        return StudentOutput(logits=torch.zeros(len(inputs["x"]), 2, requires_grad=True))

    said = TeacherOutput(logits=torch.zeros(4, 2))
    b = step_batch(StudentOutput(logits=torch.zeros(4, 2)), said, pairs=range(4), run=run, ask=ask)
    b.inputs = {"x": torch.tensor([[5.0], [-1.0], [0.2], [3.0]])}
    b.generator = torch.Generator().manual_seed(0)
    method.losses(b)
    assert seen["all"].shape == (12, 1)
    wanted = seen["all"].abs().flatten().sort().values[:4]
    assert torch.equal(seen["taken"].abs().flatten().sort().values, wanted)
