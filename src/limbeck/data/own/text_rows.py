"""From records to examples of texts, and the task of teaching them from a bank that is keyed by their rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples, View, texts
from limbeck.data.files.cells import number_of
from limbeck.data.splits import Splits
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, nearest, some
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key
from limbeck.signals.pairing import Pairing

ON_ERROR = ("error", "skip")


@dataclass(frozen=True)
class TextRow:
    """One row.

    Args:
        key: unique over the data set.    place: for messages.
        columns: ``text`` and optionally ``text_pair``, or ``choices`` (a tuple) and optionally ``text``.
        label: class name, number (regression), or None.
        group: rows of an equal group stay in one split.
    """

    key: Key
    place: str
    columns: Mapping[str, Any]
    label: str | float | None
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


def examples_of(rows: Sequence[TextRow], class_names: Sequence[str], problem: str) -> Examples:
    """Rows as :class:`Examples`: text columns, and labels by class name or, for ``regression``, targets."""
    columns = {name: texts([row.columns[name] for row in rows]) for name in rows[0].columns}
    keys = tuple(row.key for row in rows)
    if problem == "regression":
        known = torch.tensor([row.label is not None for row in rows])
        targets = torch.tensor([0.0 if row.label is None else float(row.label) for row in rows])
        labels = torch.where(known, 0, UNLABELLED)
        return Examples(columns, keys, labels, tuple(class_names), targets)
    number = {name: c for c, name in enumerate(class_names)}
    labels = torch.tensor([UNLABELLED if row.label is None else number[str(row.label)] for row in rows])
    return Examples(columns, keys, labels, tuple(class_names))


def finite_number(cell: Any) -> float:
    """The value of a cell; DataError, to be completed by the row's place, for what is no finite number."""
    try:
        value = number_of(cell)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    raise DataError(f"has {cell!r} where a finite number is predicted")


def with_few_labels(train: Examples, n: int | None, seed: int) -> Examples:
    """``train`` with ``n`` labels of each class, drawn by ``seed``, and -100 elsewhere (all labels for None).

    For regression, whose only class is what is predicted, ``n`` rows keep their value.

    Raises: ConfigError for ``n`` below 1; DataError for a class with fewer labelled rows.
    """
    if n is None:
        return train
    if n < 1:
        raise ConfigError(f"labels_per_class={n} must be at least 1, or null for all labels.")
    rng = np.random.default_rng(keyed_seed("labels", seed))
    labels, kept = train.labels.numpy(), np.zeros(len(train), dtype=bool)
    for c, name in enumerate(train.class_names):
        rows = np.flatnonzero(labels == c)
        if len(rows) < n:
            raise DataError(
                f"{n} labelled rows of class {name!r} were asked for, but training has {len(rows)}; lower "
                "labels_per_class."
            )
        kept[rng.permutation(rows)[:n]] = True
    return _labels_only_of(train, torch.from_numpy(kept))


def _labels_only_of(examples: Examples, kept: Tensor) -> Examples:
    targets = None if examples.targets is None else torch.where(kept, examples.targets, 0.0)
    return replace(examples, labels=torch.where(kept, examples.labels, UNLABELLED), targets=targets)


def check_classes(train: Examples, source: str) -> None:
    """Raises DataError for a task with one class, and for a class without a labelled training row."""
    if train.targets is not None:
        known = train.targets[train.labels != UNLABELLED]
        if not len(known) or bool((known == known[0]).all()):
            raise DataError(
                f"{source} has {'one value' if len(known) else 'no value'} to predict in training."
            )
        return
    if len(train.class_names) < 2:
        raise DataError(
            f"{source} holds {'only one class' if train.class_names else 'no labels'}; at least two are needed."
        )
    if "choices" in train.inputs:  # every row offers all its choices
        return
    absent = [name for c, name in enumerate(train.class_names) if not (train.labels == c).any()]
    if absent:
        raise DataError(f"The labelled training rows of {source} have no row of class {some(absent)}.")


def paired_text_task(
    name: str,
    roles: Mapping[str, Examples],
    *,
    labels_per_class: int | None,
    seed: int,
    info: dict[str, Any],
    teacher: Callable[[Examples], Mapping[str, Examples]] | None = None,
    teacher_views: Mapping[str, View] | None = None,
) -> Task:
    """The task of learning texts from what a teacher said about each training row.

    Args:
        roles: ``train`` (fully labelled), ``validation``, ``test`` and further final splits.
        teacher: the teacher's splits, with ``link`` = one row, of the same key, for every training row. By default
            ``link`` are the training texts themselves, without labels, so that a bank keyed by their keys fits.
        teacher_views: of the inputs in the teacher's splits.

    Returns: a task whose pairing names every training row by its own key.
    """
    full = roles["train"]
    train = with_few_labels(full, labels_per_class, seed)
    hidden = _labels_only_of(full, torch.zeros(len(full), dtype=torch.bool))
    return Task(
        name=name,
        splits=Splits(**{**roles, "train": train}),
        teacher_splits=Splits(**({"link": hidden} if teacher is None else teacher(hidden))),
        pairing=Pairing.paired(full.keys),
        teacher_views=dict(teacher_views or {}),
        truth=None if full.targets is not None else full.labels.clone(),
        metric="accuracy" if full.targets is None else "pearson",
        preprocessor={"kind": "text", "columns": list(full.text_columns)},
        info={
            **info,
            "rows": {role: len(examples) for role, examples in roles.items()},
            "link": "paired",
            "n_labelled": int((train.labels != UNLABELLED).sum()),
            "n_unlabelled": int((train.labels == UNLABELLED).sum()),
            "seed": seed,
        },
    )


def check_on_error(on_error: str) -> None:
    if on_error not in ON_ERROR:
        raise ConfigError(f"on_error={on_error!r} is not known; {nearest(on_error, ON_ERROR)}")
