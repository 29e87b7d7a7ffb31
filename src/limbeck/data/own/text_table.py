"""A user's own texts: a CSV, TSV, JSON Lines or Parquet of texts with labels, for a teacher or a bank of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.files.records import Record, Table, read_table, refuse_bad
from limbeck.data.own.sides.class_folders import ROLE_OF
from limbeck.data.own.text_rows import (
    TextRow,
    check_keys,
    check_on_error,
    empty_column,
    examples_of,
    paired_text_task,
)
from limbeck.data.own.text_splits import cut_by_class
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.problems.base import Problem
from limbeck.problems.registry import problem_class, split_spec
from limbeck.seeding import keyed_seed
from limbeck.signals.cells import keys_of, name_of, text_of
from limbeck.signals.key import Key

KEY_COLUMNS = ("key", "id")


@dataclass(frozen=True)
class _Columns:
    """Names of the columns, as they are in the file; None or empty for what it does not have."""

    text: str | None
    text_pair: str | None
    choices: tuple[str, ...]
    label: str
    key: str | None
    split: str | None
    group: str | None


def text_table(
    path: str | Path,
    *,
    problem: str | Mapping[str, Any] | None = None,
    text: str = "text",
    text_pair: str = "text_pair",
    choices: str | Sequence[str] = "choices",
    label: str = "label",
    key: str | None = None,
    split: str = "split",
    group: str = "group",
    class_names: Sequence[str] | None = None,
    labels_per_class: int | None = None,
    validation_share: float = 0.15,
    test_share: float = 0.2,
    on_error: str = "error",
    seed: int = 0,
) -> Task:
    """The task of a table of texts, paired by key with what a teacher said about the same rows.

    Args:
        path: ``.csv`` (quoted), ``.tsv`` (unquoted), ``.jsonl`` or ``.parquet`` in UTF-8; cells are texts as they stand
            (see :mod:`limbeck.signals.cells`).
        problem: ``classification`` (the label is a class name), ``regression`` (a number; scored by Pearson's r), or
            ``choice`` (which of the row's choices is right: its number from 0, or the name of its column). By default
            ``choice`` where the table has choices, else ``classification``.
        text, text_pair: columns of the text, and of a second one that belongs to it (optional).
        choices: one column that holds a list of texts (JSON Lines, Parquet), or the names of the columns, one a
            choice; ``text`` is then what all share, and optional.
        label: empty where unknown; rows without a label train unlabelled and are not tested on.
        key: by default ``key``, else ``id``, else the rows' numbers from 0. A bank is joined by it; a column of whole
            numbers gives integer keys, as it does in ``limbeck bank build`` (not one with leading zeros).
        split: optional column of ``train``, ``validation`` (``val``, ``dev``) and ``test``.
        group: optional column; rows of an equal group (document, author, product) stay in one split.
        class_names: in the order of their numbers; sorted names by default. Others are then errors.
        labels_per_class: keep so many labels of each class (values, for regression), drawn by ``seed``; all by
            default.
        validation_share, test_share: of the labelled rows, by class (whole groups where there are some), unless the
            split column names them.
        on_error: ``skip`` leaves out empty texts and labels that cannot be used, and names them in ``info``.
        seed: of the splits and labels.

    Returns: columns ``text`` and ``text_pair``, or ``choices``; a paired link that names every training row by its
        key, so that the recipe's bank, or a teacher of the same texts, can be asked about it.
    Raises: DataError naming lines, keys or files; UnknownNameError for a column or problem; ConfigError.
    """
    check_shares(validation_share, test_share)
    check_on_error(on_error)
    class_names = None if class_names is None else tuple(map(name_of, class_names))
    table = read_table(Path(path))
    key = key or next((name for name in KEY_COLUMNS if name in table.columns), "key")
    asked = {"text": text, "text_pair": text_pair, "label": label, "key": key, "split": split, "group": group}
    columns = _columns(table, asked, choices)
    spec = problem or ("choice" if columns.choices else "classification")
    kind, _ = split_spec(spec)
    posed = problem_class(kind)
    if posed.chooses != bool(columns.choices):
        raise ConfigError(f"problem={kind!r} {'takes no' if columns.choices else 'needs'} choices in {path}.")
    rows, named_roles, skipped = _rows(table, columns, posed, class_names, on_error)
    names = _choices_of(rows, columns) if columns.choices else _class_names(rows, posed, class_names, columns)
    shares = {"validation": validation_share, "test": test_share}
    rng = np.random.default_rng(keyed_seed("texts", "split", seed))
    parts = cut_by_class(rows, shares, names, rng, role_of=named_roles)
    roles = {role: examples_of(members, names, spec) for role, members in parts.items()}
    roles["train"].problem.check(roles["train"].targets, str(path))
    task = paired_text_task(
        "texts",
        roles,
        labels_per_class=labels_per_class,
        seed=seed,
        info={"source": str(path), "problem": kind, "skipped": skipped},
    )
    return replace(task, preprocessor=task.preprocessor | _own_names(columns))


def _own_names(columns: _Columns) -> dict[str, Any]:
    """For the shipped student: what its columns are called in the user's tables, where that is not the usual name."""
    choices = list(columns.choices) if len(columns.choices) > 1 else next(iter(columns.choices), None)
    called = {"text": columns.text, "text_pair": columns.text_pair, "choices": choices}
    names = {column: name for column, name in called.items() if name is not None and name != column}
    return {"names": names} if names else {}


def check_shares(validation: float, test: float) -> None:
    """ConfigError for shares of rows that leave none for training."""
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise ConfigError(
            "validation_share and test_share must lie between 0 and 1 and leave training rows; they are "
            f"{validation} and {test}."
        )


# -- columns ---------------------------------------------------------------------------------------------------


def _columns(table: Table, asked: Mapping[str, str], choices: str | Sequence[str]) -> _Columns:
    """The columns that the table has; one that was asked for by another name than the usual one must be there."""
    several = (choices,) if isinstance(choices, str) else tuple(choices)
    has_choices = several[0] in table.columns or several != ("choices",)
    needed = {"label"} if has_choices else {"label", "text"}
    for role, name in asked.items():
        if name not in table.columns and (role in needed or name != role):
            raise UnknownNameError(
                f"{table.source} has no column {name!r} for {role}; {nearest(name, table.columns)}"
            )
    for name in several if has_choices else ():
        if name not in table.columns:
            raise UnknownNameError(f"{table.source} has no column {name!r}; {nearest(name, table.columns)}")
    if len(several) == 1 and not isinstance(choices, str):
        raise ConfigError(f"choices={list(choices)} names one column; name at least two, one a choice.")
    found = {role: name if name in table.columns else None for role, name in asked.items()}
    label = found.pop("label")
    assert label is not None
    return _Columns(label=label, choices=several if has_choices else (), **found)


def _class_names(
    rows: Sequence[TextRow], problem: type[Problem], given: Sequence[str] | None, columns: _Columns
) -> tuple[str, ...]:
    if given is not None and len(set(given)) != len(given):
        raise ConfigError(f"class_names={list(given)} must be different names.")
    return tuple(given) if given is not None else problem.names_in([row.label for row in rows], columns.label)


def _choices_of(rows: Sequence[TextRow], columns: _Columns) -> tuple[str, ...]:
    counts = {len(row.columns["choices"]): row.place for row in reversed(rows)}
    if len(counts) > 1:
        (few, one), (many, other) = sorted(counts.items())[:2]
        raise DataError(f"Rows must offer equally many choices; {one} has {few}, {other} has {many}.")
    return _choice_names(columns, next(iter(counts)))


def _choice_names(columns: _Columns, n: int) -> tuple[str, ...]:
    return columns.choices if len(columns.choices) > 1 else tuple(f"choice {number}" for number in range(n))


# -- rows ------------------------------------------------------------------------------------------------------


def _rows(
    table: Table, columns: _Columns, problem: type[Problem], class_names: Sequence[str] | None, on_error: str
) -> tuple[list[TextRow], dict[Key, str], dict[str, str]]:
    """The rows, the split of each key that names one, and the places of those left out with the reason."""
    rows, roles, bad = [], {}, dict(table.bad)
    for key, record in zip(_keys(table, columns.key), table.records):
        named = f"{record.place} (key {key!r})" if columns.key else record.place
        try:
            role = _text(record, columns.split).lower()
            if columns.split and role not in ROLE_OF:
                raise DataError(f"has the split {role!r}, none of {', '.join(ROLE_OF)}")
            if key == "":
                raise DataError("has no key")
            rows.append(_row(record, key, named, columns, problem, class_names))
            if role:
                roles[key] = ROLE_OF[role]
        except DataError as error:
            bad[named] = str(error)
    refuse_bad(bad, len(table.records) + len(table.bad), table.source, on_error)
    check_keys(rows, table.source)
    return rows, roles, bad


def _keys(table: Table, column: str | None) -> list[Key]:
    """The key of each record, as a bank of the same table has it."""
    if column is None:
        return list(range(len(table.records)))
    return keys_of([record.cells.get(column) for record in table.records], typed=table.typed)


def _row(
    record: Record,
    key: Key,
    place: str,
    columns: _Columns,
    problem: type[Problem],
    class_names: Sequence[str] | None,
) -> TextRow:
    texts: dict[str, Any] = {}
    for role, name in (("text", columns.text), ("text_pair", columns.text_pair)):
        if name is not None:
            texts[role] = _text(record, name)
    if columns.choices:
        texts["choices"] = _choices(record, columns.choices)
    if empty := empty_column(texts):
        raise DataError(f"has an empty {empty}")
    cell = record.cells.get(columns.label)
    cell = cell if isinstance(cell, (list, tuple)) else name_of(cell)
    label: Any = None
    if columns.choices and cell:
        label = choice_of(str(cell), _choice_names(columns, len(texts["choices"])))
    elif cell != "":
        label = problem.label(cell)
        for name in [label] if isinstance(label, str) else label if isinstance(label, tuple) else ():
            if class_names is not None and name not in class_names:
                near = nearest(name, class_names).rstrip(".?")
                raise DataError(f"has the label {name!r}, no class name ({near})")
    group = name_of(record.cells.get(columns.group)) if columns.group else ""
    return TextRow(key, place, texts, label, group)


def _text(record: Record, column: str | None) -> str:
    return "" if column is None else text_of(record.cells.get(column)).strip()


def _choices(record: Record, columns: Sequence[str]) -> tuple[str, ...]:
    if len(columns) > 1:
        return tuple(_text(record, column) for column in columns)
    value = record.cells.get(columns[0])
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise DataError(f"has {value!r} where a list of at least two choices is needed")
    return tuple(str(choice) for choice in value)


def choice_of(cell: str, names: Sequence[str]) -> str:
    """The choice that a label names, by its column or its number; DataError says what is wrong with it."""
    if cell in names:
        return cell
    if cell.isdigit() and int(cell) < len(names):
        return names[int(cell)]
    raise DataError(f"has the label {cell!r}; choices are numbered from 0 to {len(names) - 1}")
