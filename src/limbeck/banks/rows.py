"""Reading what a teacher is asked about: examples, a data set or frame, a table's file, or rows as dictionaries."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.key_index import DEFAULT_VIEW, plain_keys
from limbeck.banks.table_rows import table_rows
from limbeck.data.files.frames import as_rows
from limbeck.data.files.hub_rows import hub_rows, is_of_hub
from limbeck.data.files.table_files import table_file
from limbeck.errors import DataError, UnreadableRowsError, nearest, some
from limbeck.signals.cells import is_nothing
from limbeck.signals.classes import refuse_twice
from limbeck.signals.fingerprint import input_digests
from limbeck.signals.key import Key

UNLABELLED = -100


@dataclass
class RowBatch:
    """``n`` consecutive rows; labels are -100 where unknown, inputs a tensor or list by column."""

    keys: list[Key]
    views: list[str]
    labels: list[int]
    inputs: dict[str, Any]

    def __len__(self) -> int:
        return len(self.keys)

    def digests(self) -> np.ndarray:
        """Content hash of each row's inputs, ``[n, 16]`` uint8. Raises: UnreadableRowsError naming keys."""
        try:
            return input_digests(self.inputs, len(self))
        except UnreadableRowsError as error:
            named = some(self.keys[row] for row in error.rows)
            raise UnreadableRowsError(f"{error} Keys: {named}.", error.rows) from error


@dataclass(frozen=True)
class RowColumns:
    """Which column is what; ``key=None`` is the row's number, ``inputs=None`` all that are left."""

    key: str | None = "id"
    label: str | None = None
    view: str | None = None
    inputs: Sequence[str] | None = None


class RowReader:
    """Reads a data set once, in order; make another reader to read it again.

    Args:
        leave_out: keys whose rows are passed over.

    Attributes:
        total: number of rows, ``None`` where it is not known in advance.
        class_names: names that the data carries, ``None`` if it has none.
        decodes: reading a row may decode a file, and can be done in another thread.
    """

    def __init__(
        self,
        data: Any,
        columns: RowColumns,
        class_names: Sequence[str] | None = None,
        leave_out: Collection[Key] = (),
    ) -> None:
        self.decodes = is_of_hub(data) or not isinstance(getattr(data, "inputs", {}), Mapping)
        data = hub_rows(data, columns.key) if is_of_hub(data) else as_rows(data)
        self._data, self._columns, self._at = data, columns, 0
        self._leave_out = frozenset(leave_out)
        self._seen: set[Key | tuple[Key, str]] = set()
        self._is_examples = all(hasattr(data, name) for name in ("inputs", "keys", "labels", "rows"))
        self._stream: Iterator[Mapping[str, Any]] | None = None
        self.total: int | None = len(data) if hasattr(data, "__len__") else None
        if not self._is_examples and (self.total is None or not hasattr(data, "__getitem__")):
            self._stream = iter(data)
        if self.total is not None and self._leave_out:  # a key may be there in several views
            self.total = self.total - len(self._leave_out) if columns.view is None else None
        self.class_names = tuple(class_names) if class_names else _names_of(data, columns.label)
        refuse_twice(self.class_names or ())
        self._number = {name: i for i, name in enumerate(self.class_names or ())}

    def take(self, n: int) -> RowBatch:
        """The next ``n`` rows, fewer at the end. DataError: missing column, bad label, key seen twice."""
        batch = self._take_examples(n) if self._is_examples else self._take_dicts(n)
        for key, view in zip(batch.keys, batch.views):
            name = key if view == DEFAULT_VIEW else (key, view)
            if name in self._seen:
                where = "" if view == DEFAULT_VIEW else f" in view {view!r}"
                raise DataError(f"The key {key!r} comes twice{where}; keys must be unique in a data set.")
            self._seen.add(name)
        return batch

    def _take_examples(self, n: int) -> RowBatch:
        keys = self._data.keys
        if self._leave_out:
            rest = (i for i in range(self._at, len(self._data)) if keys[i] not in self._leave_out)
            span: Any = list(islice(rest, n))
            self._at = span[-1] + 1 if span else len(self._data)
            kept = plain_keys([keys[i] for i in span])
        else:
            span = slice(self._at, min(self._at + n, len(self._data)))
            self._at = span.stop
            kept = plain_keys(keys[span])
        if isinstance(self._data.inputs, Mapping):
            columns = {name: value[span] for name, value in self._data.inputs.items()}
        else:  # they lie on disk
            numbers = span if isinstance(span, list) else range(span.start, span.stop)
            columns = self._data.rows(numbers)
        inputs = {name: _plain_column(value) for name, value in columns.items()}
        return RowBatch(kept, [DEFAULT_VIEW] * len(kept), self._data.labels[span].tolist(), inputs)

    def _take_dicts(self, n: int) -> RowBatch:
        keys, rows = self._kept_rows(n)
        names = self._columns
        if names.view is None:
            views = [DEFAULT_VIEW] * len(rows)
        else:
            views = list(map(str, self._column(rows, names.view, keys)))
        label = names.label or "label"
        keys = plain_keys(keys)
        labels = [self._label(row.get(label), k) for row, k in zip(rows, keys)]
        kept = names.inputs or [
            c for c in (rows[0] if rows else ()) if c and c not in {names.key, label, names.view}
        ]
        return RowBatch(keys, views, labels, {name: _stack(self._column(rows, name, keys)) for name in kept})

    def _column(self, rows: list[Mapping[str, Any]], name: str, keys: Sequence[Any]) -> list[Any]:
        try:
            return [row[name] for row in rows]
        except (KeyError, TypeError):
            key = next(k for k, row in zip(keys, rows) if not isinstance(row, Mapping) or name not in row)
            raise DataError(
                f"The row with key {key!r} has no column {name!r}; give every row the same."
            ) from None

    def _kept_rows(self, n: int) -> tuple[list[Any], list[Mapping[str, Any]]]:
        """The next ``n`` rows that are not left out, and their keys."""
        kept_keys: list[Any] = []
        kept: list[Mapping[str, Any]] = []
        while len(kept) < n and (rows := self._next_rows(n - len(kept))):
            self._check_columns(rows[0])
            keys = self._keys(rows)
            self._at += len(rows)
            for key, row in zip(keys, rows):
                if not self._leave_out or key not in self._leave_out:
                    kept_keys.append(key)
                    kept.append(row)
        return kept_keys, kept

    def _keys(self, rows: list[Mapping[str, Any]]) -> list[Any]:
        name = self._columns.key
        if name is None:
            return [self._at + i for i in range(len(rows))]
        try:
            return [_plain(row[name]) for row in rows]
        except (KeyError, TypeError):
            wrong = next(i for i, row in enumerate(rows) if not isinstance(row, Mapping) or name not in row)
            raise DataError(
                f"The row number {self._at + wrong} has no column {name!r}; every row needs its key."
            ) from None

    def _next_rows(self, n: int) -> list[Mapping[str, Any]]:
        if self._stream is not None:
            return list(islice(self._stream, n))
        stop = min(self._at + n, len(self._data))
        if hasattr(self._data, "column_names"):  # a datasets.Dataset reads a run of rows at once
            found = self._data[self._at : stop]
            return [dict(zip(found, values)) for values in zip(*found.values())]
        return [self._data[i] for i in range(self._at, stop)]

    def _check_columns(self, row: Mapping[str, Any]) -> None:
        if not isinstance(row, Mapping):
            raise DataError(f"A row must be a dictionary of columns; got {type(row).__name__}.")
        named = {"key": self._columns.key, "label": self._columns.label, "view": self._columns.view}
        asked = [*named.items(), *(("inputs", name) for name in self._columns.inputs or ())]
        for argument, column in asked:
            if column is not None and column not in row:
                raise DataError(
                    f"The data has no column {column!r}, {nearest(column, map(str, row))} "
                    f"Name it with {argument}=."
                )

    def _label(self, value: Any, key: Key) -> int:
        if type(value) is int:
            return value
        if is_nothing(value):
            return UNLABELLED
        if isinstance(value, str):
            if value not in self._number:
                known = nearest(value, self._number) if self._number else "pass class_names= in label order."
                raise DataError(f"The label {value!r} of key {key!r} is not a known class; {known}")
            return self._number[value]
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"The label {value!r} of key {key!r} is neither a class name nor a number."
            ) from error
        if number.is_integer():
            return int(number)
        if self._columns.label is None:  # nobody said that these values are classes
            return UNLABELLED
        raise DataError(f"The label {value!r} of key {key!r} is no class; give class names or whole numbers.")


def _names_of(data: Any, label: str | None) -> tuple[str, ...] | None:
    """Class names of examples, or of a ``ClassLabel`` column."""
    names = getattr(data, "class_names", None)
    features = getattr(data, "features", None)
    if names is None and isinstance(features, Mapping):
        names = getattr(features.get(label or "label"), "names", None)
    return tuple(names) if names else None


def _stack(values: list[Any]) -> Tensor | list[Any]:
    """One tensor where all values are numbers of one shape, else the list."""
    first = values[0] if values else None
    if isinstance(first, Tensor) and all(isinstance(v, Tensor) and v.shape == first.shape for v in values):
        return torch.stack(values)
    if isinstance(first, (np.ndarray, np.generic, list, tuple, int, float)):
        try:
            array = np.asarray(values)
            return torch.from_numpy(array) if array.dtype.kind in "biuf" else values
        except (ValueError, TypeError):  # rows of different lengths; numbers that torch does not know
            return values
    return values


def _plain_column(values: Any) -> Any:
    """Texts as a list."""
    return values.tolist() if isinstance(values, np.ndarray) and values.dtype == object else values


def _plain(key: Any) -> Any:
    """A key of a data set in torch or numpy format is an array of one number."""
    return key.item() if isinstance(key, (Tensor, np.generic, np.ndarray)) and key.ndim == 0 else key


def opened(data: Any, columns: RowColumns, class_names: Sequence[str] | None = None) -> Any:
    """``data``, or the rows of the table whose path it is."""
    if not isinstance(data, (str, Path)):
        return data
    table = table_file(data, keep=[name for name in (columns.key, columns.label or "label") if name])
    label = columns.label or ("label" if "label" in table.columns else None)
    return table_rows(table, columns.key, label, class_names, values_are_no_labels=columns.label is None)


def is_one_shot(data: Any) -> bool:
    """True for a generator, which cannot be read a second time."""
    return isinstance(data, Iterator)
