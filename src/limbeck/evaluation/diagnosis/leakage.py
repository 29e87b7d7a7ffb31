"""Ways in which an answer may leak: across splits, through keys, through texts.

Axis legend: n rows, f columns of inputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import TeacherSide
from limbeck.errors import some
from limbeck.signals.fingerprint import input_digests
from limbeck.signals.key import Key
from limbeck.signals.links.base import Link

MOST_ROWS = 2048  # of a split, in the search for near-duplicates
_PROJECTED = 64  # width to which inputs are projected for it
NEAR = 0.02  # of the median distance of two rows
TELLING = 0.9  # accuracy from which on a token of the key tells the class
_FEWEST = 20  # labelled rows, for a verdict on keys


def leaks(splits: Splits, side: TeacherSide, labels_of_linked: Tensor | None) -> list[str]:
    """Sentences on what leaks; of test rows keys and inputs are compared, never a label.

    Args:
        splits: the student's.    side: the teacher's.
        labels_of_linked: ``(m,)`` labels that the linked teacher rows carry, -100 = none; None where classes are the
            link.
    """
    found = [*across_splits(splits), *linked_across(splits, side.link), *telling_keys(splits)]
    if labels_of_linked is not None and bool((labels_of_linked >= 0).any()):
        found.append(
            f"{int((labels_of_linked >= 0).sum())} teacher rows that pairs or bags name carry a label: they betray "
            "the class of the rows they are linked with; leave the labels out of the bank."
        )
    if "train" in side.splits and (both := set(side.splits["train"].keys) & set(side.link.teacher_keys)):
        found.append(
            f"{len(both)} linked rows were in the teacher's training data ({some(sorted(map(str, both)), 3)}): it says "
            "more of them than it will of new ones; train it on other rows."
        )
    return found


def across_splits(splits: Splits) -> Iterator[str]:
    """Keys, and equal or nearly equal inputs, that two of the splits share."""
    with splits.final_evaluation() as opened:
        roles = {role: opened[role] for role in opened.roles if len(opened[role])}
    names = list(roles)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = roles[first], roles[second]
            if keys := set(a.keys) & set(b.keys):
                yield (
                    f"{len(keys)} keys are both in {first} and in {second} ({some(sorted(map(str, keys)), 3)}); a row "
                    "belongs to one split."
                )
            elif n := duplicates(a, b):
                yield (
                    f"{n} rows of {second} are the same or nearly the same as rows of {first}; leave them out of one, "
                    "or the score counts what was learned by heart."
                )


def duplicates(a: Examples, b: Examples) -> int:
    """Rows of ``b`` that have an equal, or nearly equal, row in ``a``: of at most 2048 of each, evenly spaced."""
    rows_a, rows_b = (part.rows(_spaced(len(part))) for part in (a, b))
    digests = [
        {bytes(row) for row in input_digests(rows, len(next(iter(rows.values()))))}
        for rows in (rows_a, rows_b)
    ]
    equal = len(digests[0] & digests[1])
    x_a, x_b = _projected(rows_a), _projected(rows_b)
    if x_a is None or x_b is None or x_a.shape[1] != x_b.shape[1]:
        return equal
    distance = torch.cdist(x_b, x_a)
    usual = distance.median()
    return max(equal, int((distance.min(1).values < NEAR * usual).sum())) if float(usual) > 0 else equal


def linked_across(splits: Splits, link: Link) -> Iterator[str]:
    """Bags and pairs that reach into held-out splits: the teacher would teach what it is judged on."""
    if not link.teacher_keys:
        return
    with splits.final_evaluation() as opened:
        held_out = {role: opened[role].keys for role in opened.roles if role != "train"}
    for role, keys in held_out.items():
        found = link.second_stream(keys, torch.zeros(len(keys), dtype=torch.bool))
        rows = found.tolist() if isinstance(found, Tensor) else [row for bag in found for row in bag]
        if rows:
            yield (
                f"{len(rows)} rows of {role} are linked to teacher rows ({some([keys[row] for row in rows], 3)}); take "
                "them out of the link."
            )


def telling_keys(splits: Splits) -> Iterator[str]:
    """A part of the key that tells the class: harmless to a student, fatal where a teacher is asked with file names."""
    parts = [splits[role] for role in ("train", "validation") if role in splits]
    keys = [key for part in parts for key, c in zip(part.keys, part.labels.tolist()) if c >= 0]
    labels = [c for part in parts for c in part.labels.tolist() if c >= 0]
    if len(labels) < _FEWEST or len(set(labels)) < 2:
        return
    place, accuracy = _best_token(keys, labels)
    base = float(np.bincount(labels).max() / len(labels))
    if accuracy >= TELLING and accuracy > base + 0.1:
        yield (
            f"Part {place + 1} of the key tells the class in {accuracy:.0%} of the rows ({some(keys, 2)}). A student "
            "reads no keys; a teacher that is asked with file names would."
        )


def _best_token(keys: Sequence[Key], labels: Sequence[int]) -> tuple[int, float]:
    """Which part of the keys tells the class best, learned on one half of the rows and judged on the other."""
    order = np.random.default_rng(0).permutation(len(keys))  # rows may lie in a pattern
    keys, labels = [keys[i] for i in order], [labels[i] for i in order]
    tokens = [re.split(r"[^0-9A-Za-z]+", str(key)) for key in keys]
    best = (0, 0.0)
    for place in range(max(map(len, tokens))):
        values = [parts[place] if place < len(parts) else "" for parts in tokens]
        if len(set(values)) > len(values) / 2:  # a number of its own for each row
            continue
        learned: dict[str, dict[int, int]] = {}
        for value, label in list(zip(values, labels))[::2]:
            learned.setdefault(value, {}).setdefault(label, 0)
            learned[value][label] += 1
        judged = list(zip(values, labels))[1::2]
        right = sum(
            value in learned and max(learned[value], key=learned[value].__getitem__) == label
            for value, label in judged
        )
        if right / len(judged) > best[1]:
            best = (place, right / len(judged))
    return best


def named_in_texts(texts: Sequence[str], labels: Sequence[int], names: Sequence[str]) -> str | None:
    """A sentence where texts name their own class in more than a fifth of the labelled rows, and none otherwise."""
    known = [(text.lower(), names[c].lower()) for text, c in zip(texts, labels) if c >= 0]
    if not known:
        return None
    share = sum(re.search(rf"\b{re.escape(name)}\b", text) is not None for text, name in known) / len(known)
    if share <= 0.2:
        return None
    return (
        f"The text names its own class in {share:.0%} of the labelled rows; the task may be to copy a word."
    )


def _spaced(n: int) -> Tensor:
    return torch.arange(0, n, max(1, -(-n // MOST_ROWS)))


def _projected(rows: Mapping[str, Tensor]) -> Tensor | None:
    """Float inputs flattened, projected at random to 64 columns, ``(n, 64)``; None without any."""
    columns = [v.flatten(1).float() for v in rows.values() if isinstance(v, Tensor) and v.is_floating_point()]
    if not columns:
        return None
    flat = torch.cat(columns, dim=1).nan_to_num()
    if flat.shape[1] <= _PROJECTED:
        return flat
    directions = torch.randn(flat.shape[1], _PROJECTED, generator=torch.Generator().manual_seed(0))
    return flat @ directions / flat.shape[1] ** 0.5
