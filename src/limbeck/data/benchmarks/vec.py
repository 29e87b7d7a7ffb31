"""Physical knowledge in words (VEC): colours of objects, and which of two is larger, taller, heavier, hotter, harder.

The pairs of a comparison come from one total order over a few objects, so a split of *pairs* is solved by knowing who
is who, without a word of physics: here no object is in two splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.benchmarks.vec_tasks import COMPARISONS, Pair, check_task, color_rows, named, pairs
from limbeck.data.own.text_rows import TextRow, check_keys, examples_of, paired_text_task
from limbeck.data.own.text_splits import cut_by_class
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError
from limbeck.seeding import keyed_seed

MIN_OF_A_COLOR = 3  # one for each split
MIN_PAIRS, MAX_DRAWS = 10, 100


def vec(
    folder: str,
    *,
    task: str = "size",
    labels_per_class: int | None = None,
    validation_share: float = 0.2,
    test_share: float = 0.4,
    seed: int = 0,
) -> Task:
    """A supervised task of physical knowledge, split by object.

    Args:
        folder: holds ``color.json``, ``size.json`` and so on (JSON Lines).
        task: ``color`` (which colour is this object? classes are the colours), ``size``, ``height``, ``mass``,
            ``temperature`` or ``hardness`` (is the first object more than the second? both orders of a pair occur).
        labels_per_class: as everywhere; all by default.
        validation_share, test_share: of the objects (of each colour, for ``color``).
        seed: of the split and the labels.

    Returns: column ``text``; a pair is in a split only if both its objects are, and ``info["dropped"]`` counts those
        across splits; colours of fewer than three objects are left out and named in ``info``. The teacher's ``link``
        are the training texts, for a bank keyed as they are (``color/jacket``, ``size/ant/bird``).
    Raises: DataError naming file and line; UnknownNameError for a task; ConfigError.
    """
    check_task(task)
    if not (0 < validation_share < 1 and 0 < test_share < 1 and validation_share + test_share < 1):
        raise ConfigError(
            "validation_share and test_share must lie between 0 and 1 and leave objects to train on; they are "
            f"{validation_share} and {test_share}."
        )
    shares = {"validation": validation_share, "test": test_share}
    rng = np.random.default_rng(keyed_seed("vec", task, seed))
    if task == "color":
        parts, class_names, facts = _colors(folder, shares, rng)
    else:
        parts, class_names, facts = _comparison(folder, task, shares, rng)
    roles = {role: examples_of(rows, class_names, "classification") for role, rows in parts.items()}
    roles["train"].problem.check(roles["train"].targets, f"VEC's {task}")
    return paired_text_task(
        f"vec {task}",
        roles,
        labels_per_class=labels_per_class,
        seed=seed,
        info={"source": str(folder), "task": task, "split_by": "object", **facts},
    )


Parts = tuple[dict[str, list[TextRow]], tuple[str, ...], dict[str, Any]]


def _colors(folder: str | Path, shares: dict[str, float], rng: np.random.Generator) -> Parts:
    found = color_rows(folder)
    counts = Counter(row.color for row in found)
    class_names = tuple(sorted(color for color, n in counts.items() if n >= MIN_OF_A_COLOR))
    rows = [
        TextRow(f"color/{row.object}", "", {"text": f"the color of {named(row.object)}"}, row.color)
        for row in found
        if row.color in class_names
    ]
    check_keys(rows, f"{folder}/color.json")
    rare = {color: n for color, n in counts.items() if n < MIN_OF_A_COLOR}
    parts = cut_by_class(rows, shares, class_names, rng)
    objects = {role: len(members) for role, members in parts.items()}
    return parts, class_names, {"left_out": rare, "objects": objects, "dropped": 0}


def _comparison(folder: str | Path, task: str, shares: dict[str, float], rng: np.random.Generator) -> Parts:
    how, found = COMPARISONS[task], pairs(folder, task)
    role_of, kept = _draw(found, shares, rng, f"{folder}/{task}.json")
    parts: dict[str, list[TextRow]] = {"train": [], **{role: [] for role in shares}}
    for pair in kept:
        first, second = (named(name, is_counted=how.is_counted) for name in (pair.first, pair.second))
        text = f"Is {first} {how.classes[1]} than {second}?"
        key = f"{task}/{pair.first}/{pair.second}"
        parts[role_of[pair.first]].append(TextRow(key, "", {"text": text}, how.classes[pair.label]))
    check_keys([row for rows in parts.values() for row in rows], f"{folder}/{task}.json")
    objects = dict(Counter(role_of.values()))
    return parts, how.classes, {"left_out": {}, "objects": objects, "dropped": len(found) - len(kept)}


def _draw(
    found: Sequence[Pair], shares: dict[str, float], rng: np.random.Generator, source: str
) -> tuple[dict[str, str], list[Pair]]:
    """The role of each object, and the pairs inside a role; drawn anew while a role has next to no pair (not every
    two objects are compared in ``mass``)."""
    objects = sorted({name for pair in found for name in (pair.first, pair.second)})
    for _ in range(MAX_DRAWS):
        role_of = split_of_objects(objects, shares, rng)
        kept = [pair for pair in found if role_of[pair.first] == role_of[pair.second]]
        counts = Counter(role_of[pair.first] for pair in kept)
        if all(counts[role] >= MIN_PAIRS for role in ("train", *shares)):
            return role_of, kept
    raise DataError(
        f"No split of the objects of {source} leaves {MIN_PAIRS} pairs in every part; raise the shares."
    )


def split_of_objects(
    objects: Sequence[str], shares: dict[str, float], rng: np.random.Generator
) -> dict[str, str]:
    """The role of each object: at least two of them, which make a pair, in every role."""
    if len(objects) < 2 * (len(shares) + 1):
        raise DataError(f"{len(objects)} objects are too few for {len(shares) + 1} splits of at least two.")
    order, start = rng.permutation(len(objects)), 0
    role_of = dict.fromkeys(objects, "train")
    for role, share in shares.items():
        n = max(2, round(share * len(objects)))
        role_of |= {objects[number]: role for number in order[start : start + n]}
        start += n
    return role_of
