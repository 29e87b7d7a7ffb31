"""Balanced assignments: margins, fixed points, and bags all at once."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.functional import assignment_in_bags, balanced_assignment
from limbeck.seeding import keyed_generator


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


def test_rows_of_bags_in_any_order_are_bags_one_by_one() -> None:
    generator = keyed_generator("rows")
    group = torch.tensor([1, 0, 1, 2, 0, 1])
    logits = torch.randn(6, 4, generator=generator)
    proportions = torch.rand(3, 4, generator=generator)
    proportions /= proportions.sum(1, keepdim=True)
    together = assignment_in_bags(logits, group, proportions)
    for bag in range(3):
        alone = balanced_assignment(logits[group == bag].log_softmax(1), proportions[bag])
        assert torch.allclose(together[group == bag], alone, atol=1e-6)
    assert assignment_in_bags(logits[:0], group[:0], proportions).shape == (0, 4)
