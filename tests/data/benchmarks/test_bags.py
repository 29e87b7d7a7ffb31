"""Pairs and bags made from labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.benchmarks.bags import mixed_bags, same_class_pairs
from limbeck.errors import DataError


def counts_of(bags, labels, n_classes):
    return np.array([np.bincount(labels[list(bag)], minlength=n_classes) for bag in bags])


def test_pairs_share_the_class_and_reuse_only_when_they_must():
    rng = np.random.default_rng(0)
    ours, theirs = np.repeat([0, 1], [6, 3]), np.array([1, 0, 1, 0, 1, 0, 1])
    pairs = same_class_pairs(ours, theirs, rng)
    assert np.array_equal(theirs[pairs], ours)
    assert len(set(pairs[6:])) == 3
    assert np.bincount(pairs[:6], minlength=7)[[1, 3, 5]].tolist() == [2, 2, 2]
    with pytest.raises(DataError, match="class number 1"):
        same_class_pairs(ours, np.zeros(4, dtype=int), rng)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.integers(2, 6),
    bag_size=st.integers(1, 9),
    n_rows=st.integers(10, 90),
    counts=st.sampled_from(["same", "independent"]),
)
def test_bags_share_no_row_and_have_their_size(seed, n_classes, bag_size, n_rows, counts):
    rng = np.random.default_rng(seed)
    labels_s, labels_t = rng.integers(0, n_classes, n_rows), rng.integers(0, n_classes, n_rows + 20)
    arguments = {"n_classes": n_classes, "bag_size": bag_size, "n_bags": 12, "counts": counts}
    try:
        bags = mixed_bags(labels_s, labels_t, rng=rng, **arguments)
    except DataError:
        both = np.minimum(*(np.bincount(x, minlength=n_classes) for x in (labels_s, labels_t)))
        assert both.sum() < bag_size
        return
    for side in (bags.student, bags.teacher):
        rows = [row for bag in side for row in bag]
        assert len(rows) == len(set(rows))
        assert {len(bag) for bag in side} == {bag_size}
    assert 1 <= len(bags) <= 12
    if counts == "same":
        assert np.array_equal(
            counts_of(bags.student, labels_s, n_classes), counts_of(bags.teacher, labels_t, n_classes)
        )


def test_benchmark_bags_are_all_filled_and_mixed_as_dirichlet():
    rng = np.random.default_rng(1)
    clips, images = np.repeat(np.arange(10), 138), np.repeat(np.arange(10), 500)
    arguments = {"n_classes": 10, "bag_size": 16, "n_bags": 80, "rng": rng}
    same = mixed_bags(clips, images, counts="same", **arguments)
    assert len(same) == 80
    counts = counts_of(same.student, clips, 10)
    # A Dirichlet(0.3) mix over 10 classes gives about 4 to 5 classes among 16 rows; a uniform one about 8.
    assert 3.5 < (counts > 0).sum(1).mean() < 5.5
    other = mixed_bags(clips, images, counts="independent", **arguments)
    ours, theirs = counts_of(other.student, clips, 10), counts_of(other.teacher, images, 10)
    assert not np.array_equal(ours, theirs)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.75
    assert [b != tuple(sorted(b)) for b in same.student].count(True) > 70, "rows come in random order"


def test_fewer_bags_when_the_rows_run_out():
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 5
    bags = mixed_bags(labels, labels, n_classes=5, bag_size=16, n_bags=80, counts="same", rng=rng)
    assert len(bags) == 6
    with pytest.raises(DataError, match="Not one bag of 16"):
        mixed_bags(labels[:10], labels, n_classes=5, bag_size=16, n_bags=80, counts="same", rng=rng)
