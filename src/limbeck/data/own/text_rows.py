"""From records to examples of texts, and the task of teaching them from a bank that is keyed by their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from limbeck.data.base import Examples, View, texts
from limbeck.data.splits import Splits
from limbeck.data.task import TEACHER, Task, TeacherSide
from limbeck.errors import ConfigError, DataError, nearest, some
from limbeck.problems.registry import problem_class, split_spec
from limbeck.seeding import keyed_seed
from limbeck.signals.key import Key
from limbeck.signals.links.base import Link
from limbeck.signals.links.choices import PairedChoices
from limbeck.signals.links.paired import Paired

ON_ERROR = ("error", "skip")


@dataclass(frozen=True)
class TextRow:
    """One row.

    Args:
        key: unique over the data set.    place: for messages.
        columns: ``text`` and optionally ``text_pair``, or ``choices`` (a tuple) and optionally ``text``.
        label: as the problem reads it (class name, number, class names), or None.
        group: rows of an equal group stay in one split.
    """

    key: Key
    place: str
    columns: Mapping[str, Any]
    label: Any
    group: str = ""


def empty_column(columns: Mapping[str, Any]) -> str | None:
    """The first column whose text, or one of whose choices, is blank."""
    for name, value in columns.items():
        if any(not part.strip() for part in ((value,) if isinstance(value, str) else value)):
            return name
    return None


def check_keys(rows: Sequence[TextRow], source: str) -> None:
    """Raises DataError for keys that occur more than once."""
    repeated = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{source} has keys that occur more than once: {some(repeated)}; make them unique.")


def examples_of(
    rows: Sequence[TextRow], class_names: Sequence[str], problem: str | Mapping[str, Any]
) -> Examples:
    """Rows as :class:`Examples`: text columns, and the targets that their labels are for ``problem``."""
    columns = {name: texts([row.columns[name] for row in rows]) for name in rows[0].columns}
    kind, settings = split_spec(problem)
    cls = problem_class(kind)
    targets = cls.targets_of([row.label for row in rows], class_names)
    return Examples(
        columns, tuple(row.key for row in rows), targets, cls(tuple(class_names), **settings).fitted(targets)
    )


def with_few_labels(train: Examples, n: int | None, seed: int) -> Examples:
    """``train`` with ``n`` labels of each class, drawn by ``seed``, and -100 elsewhere (all labels for None).

    Of a problem whose rows have no one class (regression, several labels), ``n`` rows keep what is known of them.

    Raises: ConfigError for ``n`` below 1; DataError for a class with fewer labelled rows.
    """
    if n is None:
        return train
    if n < 1:
        raise ConfigError(f"labels_per_class={n} must be at least 1, or null for all labels.")
    rng = np.random.default_rng(keyed_seed("labels", seed))
    kept = np.zeros(len(train), dtype=bool)
    for name, rows in _rows_by_class(train).items():
        if len(rows) < n:
            raise DataError(
                f"{n} labelled rows of class {name!r} were asked for, but training has {len(rows)}; lower "
                "labels_per_class."
            )
        kept[rng.permutation(rows)[:n]] = True
    return train.forgotten(torch.from_numpy(~kept))


def choices_apart(rows: Examples) -> tuple[Link, Examples]:
    """Each choice of a row as a row of its own, its text behind the others, and the link of a row to those.

    Raises: ConfigError for rows without choices.
    """
    if "choices" not in rows.text_columns:
        raise ConfigError(
            "These rows offer no choices, so a teacher has one row for each of them: leave out teacher_rows."
        )
    columns = {name: column for name, column in rows.all_rows().items() if name != "choices"}
    offered = rows.all_rows()["choices"]
    keys = {key: tuple(f"{key}#{k}" for k in range(len(own))) for key, own in zip(rows.keys, offered)}
    apart = {
        name: texts([value for value, own in zip(column, offered) for _ in own])
        for name, column in columns.items()
    }
    apart["choice"] = texts([choice for own in offered for choice in own])
    flat = tuple(key for own in keys.values() for key in own)
    return PairedChoices(keys), Examples(apart, flat, rows.problem.unlabelled(len(flat)), rows.problem)


def _rows_by_class(train: Examples) -> dict[str, np.ndarray]:
    """Labelled rows of each class; of a problem without classes, of what is predicted."""
    classes = train.problem.classes(train.targets)
    known = train.targets.known.numpy()
    if classes is None:
        return {", ".join(train.class_names): np.flatnonzero(known)}
    return {name: np.flatnonzero(classes.numpy() == c) for c, name in enumerate(train.class_names)}


def paired_text_task(
    name: str,
    roles: Mapping[str, Examples],
    *,
    labels_per_class: int | None,
    seed: int,
    info: dict[str, Any],
    teacher: Callable[[Examples], Mapping[str, Examples]] | None = None,
    teacher_views: Mapping[str, View] | None = None,
    each_choice: bool = False,
) -> Task:
    """The task of learning texts from what a teacher said about each training row.

    Args:
        roles: ``train`` (fully labelled), ``validation``, ``test`` and further final splits.
        teacher: the teacher's splits, with ``link`` = one row, of the same key, for every training row. By default
            ``link`` are the training texts themselves, without labels, so that a bank keyed by their keys fits.
        teacher_views: of the inputs in the teacher's splits.
        each_choice: the teacher is asked about every choice of a row, under the keys ``KEY#0``, ``KEY#1``, ...

    Returns: a task whose link names every training row by its own key.
    """
    full = roles["train"]
    train = with_few_labels(full, labels_per_class, seed)
    hidden, classes = full.forgotten(), full.problem.classes(full.targets)
    link: Link = Paired(full.keys)
    if each_choice:
        link, hidden = choices_apart(hidden)
    asked = {"link": hidden} if teacher is None else teacher(hidden)
    return Task(
        name=name,
        splits=Splits(**{**roles, "train": train}),
        teachers={TEACHER: TeacherSide(Splits(**asked), link, dict(teacher_views or {}))},
        truth=classes,
        preprocessor={"kind": "text", "columns": list(full.text_columns)},
        info={
            **info,
            "rows": {role: len(examples) for role, examples in roles.items()},
            "link": "paired",
            "n_labelled": int(train.targets.known.sum()),
            "n_unlabelled": int((~train.targets.known).sum()),
            "seed": seed,
        },
    )


def check_on_error(on_error: str) -> None:
    if on_error not in ON_ERROR:
        raise ConfigError(f"on_error={on_error!r} is not known; {nearest(on_error, ON_ERROR)}")
