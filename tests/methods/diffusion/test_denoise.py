"""The term of a denoiser by hand, and whose draws it uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.functional.diffusion.schedule import Schedule, normal_like, uniform_times
from limbeck.methods.batch import StepBatch
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.problems.registry import problem
from limbeck.students.output import StudentOutput

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def loss(answer: Any, seed: int = 7, **settings: Any) -> tuple[float, list[dict[str, Tensor]]]:
    asked, seen = problem({"kind": "denoising", **settings}, ("x",)), list[dict[str, Tensor]]()

    def run(inputs: dict[str, Tensor]) -> StudentOutput:
        seen.append(inputs)
        return StudentOutput(prediction=answer(inputs))

    plan = plan_method("denoise")
    batch = StepBatch(
        inputs={"x": X, "t": torch.zeros(5)}, targets=asked.unlabelled(5), problem=asked, run=run,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return float(plan.cls(plan.config, Shapes(Side())).losses(batch)["denoising"]), seen


@pytest.mark.parametrize("predicts", ["noise", "data", "velocity"])
def test_zero_for_a_student_that_knows_and_by_hand_for_one_that_says_nothing(predicts: str) -> None:
    generator = torch.Generator().manual_seed(7)
    noise, t = normal_like(X, generator), uniform_times(5, generator)
    wanted = Schedule("cosine", predicts).target(X, noise, t)
    right, seen = loss(lambda inputs: wanted, predicts=predicts)
    assert right == 0
    assert torch.equal(seen[0]["t"], t)
    assert torch.equal(seen[0]["x"], Schedule().noised(X, noise, t))
    nothing, _ = loss(lambda inputs: torch.zeros_like(X), predicts=predicts)
    assert nothing == pytest.approx(float(wanted.square().mean(1).sum()), rel=1e-6)


def test_draws_are_those_of_the_step() -> None:
    (_, one), (_, same), (_, other) = (loss(lambda inputs: X, seed) for seed in (1, 1, 2))
    assert torch.equal(one[0]["x"], same[0]["x"])
    assert not torch.equal(one[0]["x"], other[0]["x"])
