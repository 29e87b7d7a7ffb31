from __future__ import annotations

import pytest
import torch
from steps import shapes, step_batch

from limbeck.functional import balanced_assignment
from limbeck.methods.bags.bagkd import BagKD, BagKDConfig
from limbeck.methods.base import StepBatch
from limbeck.seeding import keyed_generator
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

# ---- the method ---------------------------------------------------------------------------------------------


def batch(logits: torch.Tensor, ema: torch.Tensor, teacher: torch.Tensor, groups: list[int]) -> StepBatch:
    return step_batch(
        StudentOutput(logits, logits),
        TeacherOutput(log_probs=teacher),
        group_s=groups,
        group_t=groups[: len(teacher)],
        ema=StudentOutput(ema, ema),
    )


def terms(b: StepBatch, **config: float) -> dict[str, float]:
    method = BagKD(BagKDConfig(**config), shapes(3, None, 3))
    return {name: float(value) for name, value in method.losses(b).items()}


def test_terms_by_hand() -> None:
    """Two bags, of 2 and 1 rows. Proportion: size times KL; assignment: mean cross-entropy in each bag, summed."""
    generator = keyed_generator("by hand")
    logits, ema = torch.randn(3, 3, generator=generator), torch.randn(3, 3, generator=generator)
    teacher = torch.randn(3, 3, generator=generator).log_softmax(1)
    groups = [7, 4, 7]  # any numbers, any order
    found = terms(batch(logits, ema, teacher, groups))
    proportion = assignment = 0.0
    for rows in ([0, 2], [1]):
        target, mean = teacher[rows].exp().mean(0), logits[rows].softmax(1).mean(0)
        proportion += len(rows) * float((target * (target / mean).log()).sum())
        q = balanced_assignment(ema[rows].log_softmax(1), target)
        assignment += float(-(q * logits[rows].log_softmax(1)).sum(1).mean())
    assert found["proportion"] == pytest.approx(proportion, abs=1e-4)
    assert found["assignment"] == pytest.approx(assignment, rel=1e-5)
    assert found["supervised"] == 0


def test_a_student_with_the_true_proportions_has_no_proportion_loss() -> None:
    logits = torch.randn(4, 3, generator=keyed_generator("equal"))
    found = terms(batch(logits, logits, logits.log_softmax(1), [0, 0, 1, 1]))
    assert found["proportion"] == pytest.approx(0.0, abs=1e-5)


def test_the_ramp() -> None:
    method = BagKD(BagKDConfig(ramp=0.4, weight_assignment=2.0), shapes(3, None, 3))
    assert [method.weights(p)["assignment"] for p in (0.0, 0.2, 0.4, 1.0)] == pytest.approx(
        [0.0, 1.0, 2.0, 2.0]
    )
    assert method.settled == 0.4
    assert BagKD(BagKDConfig(ramp=0.0), shapes(3, None, 3)).weights(0.0)["assignment"] == 1.0


def test_no_bag_in_this_part() -> None:
    b = batch(torch.randn(2, 3), torch.randn(2, 3), torch.zeros(0, 3), [-1, -1])
    assert terms(b) == {"supervised": 0.0, "proportion": 0.0, "assignment": 0.0}
