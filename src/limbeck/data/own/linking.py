"""What links the rows of a student to those of a teacher of a user's own: by key, group, class or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.data.base import Examples
from limbeck.data.own.cutting import roles_of
from limbeck.data.own.folders import FolderData
from limbeck.errors import ConfigError, LinkError, UnknownNameError, nearest, some
from limbeck.signals.cells import name_of
from limbeck.signals.key import Key
from limbeck.signals.links.bagged import Bagged
from limbeck.signals.links.base import Link
from limbeck.signals.links.choose import LINKS, link_named
from limbeck.signals.links.paired import Paired, PartlyPaired

KEEPS_LABELS = ("by_class", "unpaired")  # links whose teacher rows keep their labels


def link_settings(asked: Any, where: str = "link") -> dict[str, Any]:
    """``{kind, by}`` of a link as a recipe writes it.

    Raises: ConfigError, UnknownNameError.
    """
    settings = {"kind": asked} if isinstance(asked, str) else asked
    if not isinstance(settings, Mapping) or "kind" not in settings:
        raise ConfigError(
            f"{where} is the name of a link, or {{kind: NAME, by: COLUMN}}; it is {asked!r}. Kinds: {', '.join(LINKS)}."
        )
    for name in settings:
        if name not in ("kind", "by"):
            raise UnknownNameError(f"{where} has no setting {name!r}; {nearest(str(name), ('kind', 'by'))}")
    if settings["kind"] not in LINKS:
        raise UnknownNameError(
            f"There is no link {settings['kind']!r}; {nearest(str(settings['kind']), LINKS)}"
        )
    if settings.get("by") is not None and settings["kind"] == "unpaired":
        raise ConfigError(f"{where}: an unpaired link goes by nothing; leave out by={settings['by']!r}.")
    return {"by": None, **settings}


def linked(
    kind: str,
    train: Examples,
    student: FolderData,
    teacher: FolderData,
    share: float,
    rng: np.random.Generator,
) -> tuple[Link, np.ndarray]:
    """The link, and the numbers of the teacher rows that it is about.

    Args:
        train: the student's training rows.    share: of a teacher's rows that it is asked about by class or unpaired.

    Raises: LinkError, one sentence, where nothing or not all is linked.
    """
    if kind in ("paired", "partly_paired"):
        return _by_key(kind, train, teacher.examples)
    if kind == "bagged":
        return _by_group(train, student, teacher)
    free = np.flatnonzero(np.isin(roles_of(teacher), ("", "train")))  # its own test is kept for itself
    labels = teacher.examples.labels.numpy()[free]
    if kind == "by_class" and not (labels >= 0).any():
        raise LinkError(
            "The teacher's rows have no labels, and link 'by_class' needs them; name their column (label: COLUMN), or "
            "take another link."
        )
    classes = np.unique(labels if kind == "unpaired" else labels[labels >= 0])
    rows = [
        free[row]
        for c in classes
        for row in rng.permutation(np.flatnonzero(labels == c))[: max(1, round(share * (labels == c).sum()))]
    ]
    return link_named(kind), np.array(sorted(rows), dtype=np.int64)


def alone(kind: str, train: Examples) -> Link:
    """The link to a teacher whose rows the data do not know: a bank that is keyed by the student's rows.

    Raises: LinkError for bags, whose teacher rows must be known.
    """
    if kind == "bagged":
        raise LinkError(
            "Bags need to know which teacher rows belong to which group; give teacher: {source: TABLE, key: ID, group: "
            "COLUMN} beside the bank."
        )
    return link_named(kind, student_keys=train.keys, teacher_keys=train.keys)


def _by_key(kind: str, train: Examples, teacher: Examples) -> tuple[Link, np.ndarray]:
    row_of = {
        name_of(key): row for row, key in enumerate(teacher.keys)
    }  # 7 is "7" where the other side has texts
    pairs = {key: row for key in train.keys if (row := row_of.get(name_of(key))) is not None}
    lonely = [key for key in train.keys if key not in pairs]
    if not pairs:
        raise LinkError(
            f"No student key is a teacher key: the student has {some(train.keys, 2)}, the teacher "
            f"{some(teacher.keys, 2)}; give equal keys to what belongs together, or choose another link."
        )
    if lonely and kind == "paired":
        raise LinkError(
            f"{len(lonely)} of {len(train)} training rows have no teacher row of their key, for example "
            f"{some(lonely, 3)}; pass link='partly_paired' or add the missing ones."
        )
    teacher_of: dict[Key, Key] = {key: teacher.keys[row] for key, row in pairs.items()}
    rows = np.array(sorted(pairs.values()), dtype=np.int64)
    return (Paired if kind == "paired" else PartlyPaired)(teacher_of), rows


def _by_group(train: Examples, student: FolderData, teacher: FolderData) -> tuple[Link, np.ndarray]:
    ours = {student.groups[key] for key in train.keys if key in student.groups}
    theirs = set(teacher.groups.values())
    for side, groups in (("student", ours), ("teacher", theirs)):
        if not groups:
            raise LinkError(
                f"The {side}'s rows have no groups; link='bagged' needs a group column with common names on both "
                "sides: link: {kind: bagged, by: COLUMN}."
            )
    if not ours & theirs:
        raise LinkError(
            "No group of the student's training rows is a group of the teacher's: the student has "
            f"{some(sorted(ours), 2)}, the teacher {some(sorted(theirs), 2)}; link='bagged' needs a group column with "
            "common names on both sides."
        )
    number = {name: bag for bag, name in enumerate(sorted(ours & theirs))}
    group_s = {key: number[student.groups[key]] for key in train.keys if student.groups.get(key) in number}
    group_t = {key: number[name] for key, name in teacher.groups.items() if name in number}
    rows = np.array([row for row, key in enumerate(teacher.examples.keys) if key in group_t], dtype=np.int64)
    return Bagged(group_s, group_t), rows


def told(link: Link, train: Examples) -> str | None:
    """In a sentence how many training rows lack a teacher row; None where none does, or where no row has one."""
    have: Sequence[Any] | Mapping[Key, Any]
    have = (
        link.teacher_of
        if isinstance(link, Paired)
        else link.group_s
        if isinstance(link, Bagged)
        else train.keys
    )
    missing = len(train) - len(have)
    return f"{missing:,} of {len(train):,} training rows have no row of the teacher" if missing else None
