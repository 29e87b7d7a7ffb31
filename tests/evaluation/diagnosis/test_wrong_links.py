from __future__ import annotations

import pytest
import torch

from limbeck.evaluation.diagnosis.exchanged import exchanged_classes
from limbeck.evaluation.diagnosis.wrong_links import WrongShare, wrong_share
from limbeck.seeding import keyed_generator

C, BAGS = 10, 60


def bags(size: int, wrong: float, sure: float = 3.0, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """A judge's predictions of rows in bags of uneven mix, their bags, and what the teacher says of each bag."""
    torch.manual_seed(seed)
    p = torch.distributions.Dirichlet(torch.full((C,), 0.3)).sample((BAGS,)).clamp(min=1e-4)
    p = p / p.sum(1, keepdim=True)
    group = torch.arange(BAGS).repeat_interleave(size)
    classes = torch.multinomial(p, size, replacement=True).flatten()
    q = (sure * torch.nn.functional.one_hot(classes, C) + torch.randn(len(classes), C)).softmax(1)
    order, k = torch.arange(BAGS), round(wrong * BAGS)
    order[:k] = order[:k].roll(1)
    return q, group, p[order]


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("size", [8, 16])
def test_how_many_bags_are_wrong(size: int, wrong: float) -> None:
    found = wrong_share(*bags(size, wrong))
    assert found.low <= wrong <= found.high
    assert found.high - found.low < 0.4
    assert found.n == BAGS
    assert found.is_clear(10, 1.0) == (wrong > 0)


def test_rows_of_even_bags_tell_nothing() -> None:
    q, group, p = bags(8, 0.0)
    found = wrong_share(q, group, p.mean(0).expand_as(p))
    assert (found.low, found.high) == (0.0, 1.0)


def test_many_bags_are_sampled() -> None:
    q = torch.full((2000, 3), 1 / 3)
    assert wrong_share(q, torch.arange(2000), q).n == 500


def test_a_judge_of_few_labels_and_an_unsure_teacher_must_see_more() -> None:
    found = WrongShare(0.5, 0.4, 0.6, 40)
    assert found.is_clear(5, 1.0)
    assert not found.is_clear(1, 1.0)
    assert not found.is_clear(5, 0.8)


def judged(said_as: list[int], judge_accuracy: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = keyed_generator("exchanged", seed)
    classes = torch.randint(len(said_as), (600,), generator=draw)
    errs = torch.rand(600, generator=draw) > judge_accuracy
    guess = torch.where(errs, torch.randint(len(said_as), (600,), generator=draw), classes)
    eye = torch.eye(len(said_as))
    return eye[guess], eye[torch.tensor(said_as)[classes]]


@pytest.mark.parametrize(
    ("said_as", "found"),
    [
        ([0, 1, 2, 3], []),
        ([1, 0, 2, 3], [(0, 1), (1, 0)]),
        ([1, 2, 0, 3], [(0, 1), (1, 2), (2, 0)]),
        ([0, 0, 2, 3], []),  # a teacher that never says a class has not exchanged it
    ],
)
def test_exchanged_classes_by_a_judge_that_errs(said_as: list[int], found: list[tuple[int, int]]) -> None:
    assert exchanged_classes(*judged(said_as, 0.7)) == found


def test_noise_exchanges_nothing() -> None:
    for seed in range(20):
        draw = keyed_generator("noise", seed)
        said = torch.eye(4)[torch.randint(4, (600,), generator=draw)]
        assert exchanged_classes(judged([0, 1, 2, 3], 0.7, seed)[0], said) == []
    assert exchanged_classes(torch.zeros(0, 3), torch.zeros(0, 3)) == []
