"""Benchmark links made from labels: same-class pairs, and bags whose two sides share a class mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from limbeck.errors import DataError

Counts = Literal["same", "independent"]


@dataclass(frozen=True)
class Bags:
    """Row numbers of the student's and of the teacher's side, bag by bag; no row is in two bags."""

    student: tuple[tuple[int, ...], ...]
    teacher: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.student)


def same_class_pairs(labels_s: np.ndarray, labels_t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each student row a teacher row of the same class, ``[n]``; a teacher row serves again only after
    all have.

    Raises: DataError if the teacher has no row of a class.
    """
    pairs = np.empty(len(labels_s), dtype=np.int64)
    for c in np.unique(labels_s):
        wanted, offered = np.flatnonzero(labels_s == c), np.flatnonzero(labels_t == c)
        if not len(offered):
            raise DataError(
                f"The teacher's side has no row of class number {c}, so its student rows have no pair."
            )
        decks = [rng.permutation(offered) for _ in range(-(-len(wanted) // len(offered)))]
        pairs[wanted] = np.concatenate(decks)[: len(wanted)]
    return pairs


def mixed_bags(
    labels_s: np.ndarray,
    labels_t: np.ndarray,
    *,
    n_classes: int,
    bag_size: int,
    n_bags: int,
    counts: Counts,
    rng: np.random.Generator,
    concentration: float = 0.3,
) -> Bags:
    """Bags of ``bag_size`` rows a side; each bag has a class mix of its own, Dirichlet(``concentration``).

    Both sides are drawn without replacement over all bags. A class that runs out leaves the mix of the bags
    that follow, and when fewer than ``bag_size`` rows are left there are fewer bags than asked for.

    Args:
        labels_s, labels_t: classes of the rows to draw from, ``[n]``, ``[m]``.
        counts: ``same``: the teacher's side of a bag has the class counts of the student's side, so the bag's
            proportions are exact. ``independent``: the counts of both sides are drawn from the shared mix.
        rng: drawn from in a fixed order.

    Returns: at most ``n_bags`` bags, the rows of each side in random order.

    Raises: DataError if not even one bag can be filled.
    """
    decks_s, decks_t = (_decks(labels, n_classes, rng) for labels in (labels_s, labels_t))
    student, teacher = [], []
    for _ in range(n_bags):
        left_s, left_t = (np.array([len(deck) for deck in decks]) for decks in (decks_s, decks_t))
        left = np.minimum(left_s, left_t)
        if left.sum() < bag_size:
            break
        mix = rng.dirichlet(np.full(n_classes, concentration))
        counts_s = _bag_counts(mix, left if counts == "same" else left_s * (left > 0), bag_size, rng)
        counts_t = counts_s if counts == "same" else _bag_counts(mix, left_t * (left > 0), bag_size, rng)
        student.append(_take(decks_s, counts_s, rng))
        teacher.append(_take(decks_t, counts_t, rng))
    if not student:
        raise DataError(
            f"Not one bag of {bag_size} can be filled from {len(labels_s)} student rows and {len(labels_t)} "
            "teacher rows of common classes; make bag_size smaller or give more unlabelled data."
        )
    return Bags(tuple(student), tuple(teacher))


def _decks(labels: np.ndarray, n_classes: int, rng: np.random.Generator) -> list[list[int]]:
    return [rng.permutation(np.flatnonzero(labels == c)).tolist() for c in range(n_classes)]


def _bag_counts(mix: np.ndarray, left: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Class counts that sum to ``size``: multinomial from ``mix``, never above what is ``left``."""
    counts = np.zeros(len(mix), dtype=np.int64)
    while (missing := size - counts.sum()) > 0:
        room = left - counts
        weights = np.where(
            room > 0, mix + 1e-9, 0.0
        )  # the tiny term: a mix may be 0 on all classes that are left
        counts += np.minimum(rng.multinomial(missing, weights / weights.sum()), room)
    return counts


def _take(decks: Sequence[list[int]], counts: np.ndarray, rng: np.random.Generator) -> tuple[int, ...]:
    rows = [decks[c].pop() for c, count in enumerate(counts) for _ in range(count)]
    return tuple(rng.permutation(rows).tolist())
