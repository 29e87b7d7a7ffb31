"""A table's keys and labels, checked by line, and its rows as a bank is built of them: streamed, read again at will."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.data.files.table_files import TableFile, table_file
from limbeck.errors import ClassNamesError, DataError, UnknownNameError, nearest, some
from limbeck.signals.cells import classes_of, is_nothing, is_whole, keys_of, name_of, number_of
from limbeck.signals.classes import UNLABELLED, refuse_twice
from limbeck.signals.key import Key

_ROWS = 1024  # read at once
_KEYS = 16 * _ROWS


@dataclass(frozen=True)
class TableRows:
    """Rows of a table as dictionaries: integer or text keys, class numbers for labels, other cells as they stand.

    Keys and labels are held, the rest is read anew each time: memory grows by the keys alone.

    Args:
        key, label: columns; ``None`` = the row's number, and no label.
        class_names: of labels that are names.
    """

    table: TableFile
    key: str | None
    label: str | None
    keys: Sequence[Key]
    labels: Sequence[int]
    class_names: tuple[str, ...] | None

    @property
    def column_names(self) -> tuple[str, ...]:
        return self.table.columns

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        at = 0
        for chunk in self.table.rows(self.table.columns, _ROWS):
            for row in chunk.records():
                if self.key is not None:
                    row[self.key] = self.keys[at]
                if self.label is not None:
                    row[self.label] = self.labels[at]
                yield row
                at += 1


def table_rows(
    source: Any,
    key: str | None,
    label: str | None = None,
    class_names: Sequence[str] | None = None,
    *,
    values_are_no_labels: bool = False,
) -> TableRows:
    """The rows of a table (see :func:`~limbeck.data.files.table_files.table_file`); every row, key and label is looked
    at before the first is given.

    Args:
        values_are_no_labels: a label column of numbers with fractions holds values to predict, and no classes.

    Raises: DataError naming file and line: a row that cannot be read, a key that is missing or comes twice, no rows.
        UnknownNameError: no such column.    ClassNamesError: a label that is none of ``class_names``.
    """
    table = source if isinstance(source, TableFile) else table_file(source)
    if isinstance(source, (str, Path)) and not table.columns:
        raise DataError(f"{table.name} holds no rows; check the file.")
    for name in (key, label):
        check_column(table, name)
    keys, labels, names = keys_and_labels(table, key, label, class_names, values_are_no_labels)
    return TableRows(table, key, label, keys, labels, None if names is None else tuple(names))


def check_column(table: TableFile, name: str | None) -> None:
    """Raise UnknownNameError, with the nearest ones, for a column that is not there."""
    if name is not None and name not in table.columns:
        raise UnknownNameError(f"{table.name} has no column {name!r}; {nearest(name, table.columns)}")


def keys_and_labels(
    table: TableFile,
    key: str | None,
    label: str | None,
    class_names: Sequence[str] | None,
    values_are_no_labels: bool = False,
) -> tuple[list[Key], list[int], list[str] | None]:
    """Keys and class numbers of all rows, and the class names if the labels are names; one pass over two columns."""
    keys: list[Any] = []
    labels: list[Any] = []
    places: list[int] = []
    wanted = list(dict.fromkeys(n for n in (key, label) if n is not None)) or list(table.columns[:1])
    for chunk in table.rows(wanted, _KEYS):
        places += chunk.places
        keys += chunk.values(key) if key is not None else []
        labels += chunk.values(label) if label is not None else []
    if not places:
        raise DataError(
            f"{table.name} holds no rows{' below its header' * (not table.typed)}; check the file."
        )
    if key is not None:
        keys = _checked_keys(table, key, keys, places)
    else:
        keys = list(range(len(places)))
    if label is None or (values_are_no_labels and _are_values(labels)):
        return keys, [UNLABELLED] * len(places), None
    names = class_names if class_names is not None else table.class_names.get(label)
    return keys, *_numbered(table, labels, places, names, label)


def _checked_keys(table: TableFile, column: str, cells: list[Any], places: list[int]) -> list[Key]:
    if table.typed:
        for place, value in zip(places, cells):
            if not (value is None or isinstance(value, (str, int))) or isinstance(value, bool):
                raise DataError(
                    f"{table.unit} {place} of {table.name} has the key {value!r}; take whole numbers or texts."
                )
    keys = keys_of(cells, typed=table.typed)
    different = set(keys)
    if "" in different:
        place = places[keys.index("")]
        raise DataError(f"{table.unit} {place} of {table.name} has no key in column {column!r}.")
    if len(different) == len(keys):
        return keys
    first: dict[Key, int] = {}
    for place, value in zip(places, keys):
        if value in first:
            raise DataError(
                f"{table.unit} {place} of {table.name} has the key {value!r} of {table.unit} {first[value]} again; "
                "keys must be unique."
            )
        first[value] = place
    return keys


def _numbered(
    table: TableFile, labels: list[Any], places: list[int], class_names: Sequence[str] | None, column: str
) -> tuple[list[int], list[str] | None]:
    """Class numbers, -100 where empty; the sorted names where the labels are names and ``class_names`` is None."""
    first: dict[Any, int] = {}  # each label, and the place of its first row
    for place, value in zip(places, labels):
        if not isinstance(value, Hashable):
            raise _no_label(table, value, place, column)
        first.setdefault(value, place)
    texts = {name for value in first if isinstance(value, str) and (name := name_of(value))}
    given = None if class_names is None else [name_of(name) for name in class_names]
    refuse_twice(given or ())
    if all(map(is_whole, texts)) and not (texts and texts <= set(given or ())):
        number = {value: _class_number(table, value, place, column) for value, place in first.items()}
        return [number[value] for value in labels], None if given is None else list(class_names or ())
    names = classes_of(first) if given is None else given
    of_name = {value: i for i, value in enumerate(names)} | {"": UNLABELLED}
    called = {value: name_of(value) for value in first}
    if unknown := sorted({name for name in called.values() if name not in of_name}):
        place = min(first[value] for value, name in called.items() if name in unknown)
        raise ClassNamesError(
            f"{table.name} has labels in column {column!r} that are no class names: {some(unknown)} "
            f"({table.unit} {place})."
        )
    number = {value: of_name[name] for value, name in called.items()}
    return [number[value] for value in labels], list(class_names) if class_names is not None else names


def _are_values(labels: Sequence[Any]) -> bool:
    """Whether all labels are numbers, and some have fractions."""
    try:
        numbers = [number_of(value) for value in labels if not is_nothing(value)]
    except ValueError:
        return False
    return all(map(math.isfinite, numbers)) and not all(number.is_integer() for number in numbers)


def _class_number(table: TableFile, value: Any, place: int, column: str) -> int:
    if is_nothing(value):
        return UNLABELLED
    try:
        number = float(value)
        whole = number.is_integer()
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise _no_label(table, value, place, column)
    return int(number)


def _no_label(table: TableFile, value: Any, place: int, column: str) -> DataError:
    return DataError(
        f"{table.unit} {place} of {table.name} has the label {value!r} in column {column!r}; give class names or whole "
        "numbers."
    )
