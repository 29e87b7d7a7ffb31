from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from steps import shapes, step_batch

from limbeck.methods.bags.bagkd import BagKD, BagKDConfig, balanced_assignment
from limbeck.methods.base import StepBatch
from limbeck.seeding import keyed_generator
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput


@given(st.integers(1, 20), st.integers(2, 8), st.integers(0, 1000), st.floats(0.3, 3.0))
def test_marginals(n: int, c: int, seed: int, temperature: float) -> None:
    """Rows are distributions; in the limit columns have the proportions of the bag."""
    generator = keyed_generator("marginals", seed)
    log_probs = (2 * torch.randn(n, c, generator=generator)).log_softmax(1)
    proportions = torch.rand(c, generator=generator) + 0.1
    proportions /= proportions.sum()
    q = balanced_assignment(log_probs, proportions, temperature=temperature, iterations=500)
    assert torch.allclose(q.sum(1), torch.ones(n), atol=1e-5)
    assert torch.allclose(q.mean(0), proportions, atol=1e-3)


def test_predictions_that_have_the_proportions_already_are_a_fixed_point() -> None:
    q = (2 * torch.randn(16, 5, generator=keyed_generator("fixed"))).softmax(1)
    assert torch.allclose(balanced_assignment(q.log(), q.mean(0)), q, atol=1e-5)


def test_two_rows_two_classes_by_hand() -> None:
    """With equal margins the balanced 2 x 2 plan is [s, 1 - s] crosswise, s / (1 - s) the root of the odds ratio."""
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    q = balanced_assignment(p.log(), torch.tensor([0.5, 0.5]), iterations=200)
    odds = math.sqrt((0.9 * 0.4) / (0.1 * 0.6))
    s = odds / (1 + odds)
    assert torch.allclose(q, torch.tensor([[s, 1 - s], [1 - s, s]]), atol=1e-5)


def test_absent_classes_get_nothing_and_one_class_gets_all() -> None:
    log_probs = torch.randn(6, 3, generator=keyed_generator("absent")).log_softmax(1)
    q = balanced_assignment(log_probs, torch.tensor([0.5, 0.5, 0.0]))
    assert float(q[:, 2].max()) < 1e-9
    assert torch.allclose(
        balanced_assignment(log_probs, torch.tensor([0.0, 1.0, 0.0]))[:, 1], torch.ones(6), atol=1e-6
    )


def test_extreme_predictions_stay_finite() -> None:
    log_probs = (1e4 * torch.eye(4)).log_softmax(1)
    q = balanced_assignment(log_probs, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert bool(torch.isfinite(q).all())
    assert torch.allclose(q.sum(1), torch.ones(4), atol=1e-5)


def test_bags_at_once_are_bags_one_by_one() -> None:
    generator = keyed_generator("bags")
    sizes = (5, 2, 1)
    scores = torch.randn(3, 5, 4, generator=generator).log_softmax(2)
    proportions = torch.rand(3, 4, generator=generator)
    proportions /= proportions.sum(1, keepdim=True)
    present = torch.arange(5) < torch.tensor(sizes)[:, None]
    together = balanced_assignment(scores, proportions, present=present)
    for i, size in enumerate(sizes):
        alone = balanced_assignment(scores[i, :size], proportions[i])
        assert torch.allclose(together[i, :size], alone, atol=1e-6)
        assert not together[i, size:].any()


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
