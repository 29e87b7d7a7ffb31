"""Draws depend on (seed, step) alone, and however they are cut they are the same."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError
from limbeck.training.sampler import FEW, Draw, TwoStreamSampler, distinct

BAGS = [[10, 11, 12], [13], [14, 15], [16, 17, 18, 19], [20, 21]]


def sampler(**changed: object) -> TwoStreamSampler:
    values = {
        "labelled": [3, 5, 7],
        "unlabelled": BAGS,
        "n_labelled": 6,
        "n_units": 4,
        "max_steps": 3,
        "seed": 1,
    }
    return TwoStreamSampler(**{**values, **changed})  # type: ignore[arg-type]


def step_rows(parts: list[list[Draw]]) -> list[Draw]:
    return sorted(draw for part in parts for draw in part)


def test_a_step_depends_on_seed_and_step_alone() -> None:
    one, two = sampler(), sampler(max_steps=100, first_step=lambda: 2)
    list(one)
    assert one.global_batch(2) == two.global_batch(2)
    assert next(iter(two)) == list(one)[2]
    assert sampler(seed=2).global_batch(2) != one.global_batch(2)
    assert one.global_batch(1) != one.global_batch(2)


@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 50))
def test_cutting_changes_nothing_and_splits_no_bag(accumulation: int, world_size: int, step: int) -> None:
    labelled, units = sampler().global_batch(step)
    whole = sorted([*labelled, *(draw for unit in units for draw in unit)])
    parts = [
        part
        for rank in range(world_size)
        for part in sampler(accumulation=accumulation, rank=rank, world_size=world_size).micro_batches(step)
    ]
    assert len(parts) == accumulation * world_size
    assert all(parts)
    assert step_rows(parts) == whole
    home = {draw.slot: i for i, part in enumerate(parts) for draw in part}
    for unit in units:
        assert len({home[draw.slot] for draw in unit}) == 1


def test_slots_number_the_step() -> None:
    labelled, units = sampler().global_batch(0)
    rows = [*labelled, *(draw for unit in units for draw in unit)]
    assert [draw.slot for draw in rows] == list(range(len(rows)))
    assert {draw.stream for draw in labelled} == {"labelled"}
    assert [draw.row for draw in units[0]] in BAGS


def test_labelled_rows_repeat_and_units_do_not() -> None:
    many = sampler(n_units=5)
    counts: Counter[int] = Counter()
    for step in range(200):
        labelled, units = many.global_batch(step)
        assert len(labelled) == 6  # of three rows
        assert sorted(draw.row for unit in units for draw in unit) == list(range(10, 22))
        counts.update(draw.row for draw in labelled)
    assert set(counts) == {3, 5, 7}
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_a_stream_may_be_empty() -> None:
    assert all(draw.stream == "unlabelled" for draw in next(iter(sampler(labelled=[]))))
    assert all(draw.stream == "labelled" for draw in next(iter(sampler(unlabelled=[]))))
    assert len(sampler(n_units=99).global_batch(0)[1]) == len(BAGS)  # no more than there are


@pytest.mark.parametrize("changed", [{"labelled": [], "unlabelled": []}, {"n_labelled": 0, "n_units": 0}])
def test_nothing_to_train_on(changed: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="There is nothing to train on"):
        sampler(**changed)


def test_a_batch_that_leaves_a_part_empty_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"6 labelled rows and 4 unlabelled rows or bags cannot be cut into 8 parts"
    ):
        sampler(accumulation=4, world_size=2)


def test_many_units_are_drawn_without_a_permutation_of_all() -> None:
    """As few are: each once, any of them, and the same again for the same seed."""
    n = FEW + 1000
    first, again = (distinct(n, 2000, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == again
    assert len(set(first)) == 2000
    assert 0 <= min(first) < n * 0.01
    assert n * 0.99 < max(first) < n
    few = distinct(50, 50, torch.Generator().manual_seed(5))
    assert sorted(few) == list(range(50))
