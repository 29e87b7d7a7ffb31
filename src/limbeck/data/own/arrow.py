"""Rows of a ``datasets`` data set on disk, read when they are asked for: memory does not grow with the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples, Inputs, texts
from limbeck.errors import DataError, UnknownNameError, nearest, some
from limbeck.problems.registry import problem_class, split_spec

if TYPE_CHECKING:
    from datasets import Dataset


class ArrowTable:
    """Inputs that lie in a ``datasets.Dataset``; numbers and nested numbers become tensors, texts stay texts.

    Args:
        data: the data set, memory-mapped.    columns: model argument to the column that it is read from.
    """

    def __init__(self, data: Dataset, columns: Mapping[str, str]) -> None:
        self._data = data.select_columns(list(dict.fromkeys(columns.values()))).with_format(None)
        self._of = dict(columns)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._of)

    def __len__(self) -> int:
        return len(self._data)

    def rows(self, index: Tensor) -> Inputs:
        """The inputs of the given rows, in their order.

        Raises: DataError naming a column whose rows do not make one tensor.
        """
        read = self._data[index.tolist()]
        return {name: _column(read[column], column) for name, column in self._of.items()}


def _column(values: list[Any], column: str) -> Any:
    if not values or isinstance(values[0], str) or _are_texts(values[0]):
        return texts(values)
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise DataError(
            f"The column {column!r} holds {type(values[0]).__name__} of different shapes or no numbers, which make no "
            "tensor; pad them, or read them by their modality."
        )
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64))


def _are_texts(value: Any) -> bool:
    """Whether a cell is a list of texts (the choices of a row)."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def arrow_examples(
    source: str | Path | Dataset,
    *,
    inputs: Mapping[str, str] | Sequence[str],
    key: str | None = None,
    label: str | None = None,
    problem: str | Mapping[str, Any] = "classification",
    class_names: Sequence[str] | None = None,
) -> Examples:
    """Examples of a data set that ``Dataset.save_to_disk`` wrote; their inputs stay on disk until they are asked for.

    Args:
        source: a folder, or a ``datasets.Dataset``.
        inputs: columns, or model argument to column.
        key: column of unique keys; None: the row's number.
        label: column of what is to be found (None or empty = unknown; class numbers of a ``ClassLabel`` are named by
            it); None: nothing is known.
        problem: its kind, or ``{"kind": ..., ...}``.    class_names: in the order of the logits; default: as found.

    Raises: DataError for a folder without a data set, keys that are missing or come twice; UnknownNameError for a
    column that is not there.
    """
    data = _opened(source)
    columns = dict(inputs) if isinstance(inputs, Mapping) else {name: name for name in inputs}
    for name in (*columns.values(), *(() if key is None else (key,)), *(() if label is None else (label,))):
        if name not in data.column_names:
            raise UnknownNameError(f"The data set has no column {name!r}; {nearest(name, data.column_names)}")
    kind, settings = split_spec(problem)
    posed = problem_class(kind)
    labels, named = _labels(data, label, posed) if label is not None else ([], None)
    names = tuple(class_names or named or (posed.names_in(labels, str(label)) if label is not None else ()))
    targets = posed.unlabelled(len(data)) if label is None else posed.targets_of(labels, names)
    keys: Sequence[Any] = range(len(data)) if key is None else _keys(data, key)
    return Examples(ArrowTable(data, columns), keys, targets, posed(names, **settings).fitted(targets))


def _opened(source: str | Path | Dataset) -> Dataset:
    if not isinstance(source, (str, Path)):
        return source
    from datasets import Dataset, load_from_disk

    try:
        data = load_from_disk(str(source))
    except FileNotFoundError as error:
        raise DataError(f"{source} holds no data set; write one with Dataset.save_to_disk.") from error
    if not isinstance(data, Dataset):
        raise DataError(f"{source} holds several splits ({', '.join(data)}); name one of their folders.")
    return data


def _keys(data: Dataset, column: str) -> Sequence[Any]:
    keys = tuple(_values(data, column))
    if any(value is None or value == "" for value in keys):
        raise DataError(f"The column {column!r} has rows without a key.")
    if len(set(keys)) < len(keys):
        twice = [value for value, count in Counter(keys).items() if count > 1]
        raise DataError(
            f"The column {column!r} has keys that occur more than once: {some(twice)}; make them unique."
        )
    return keys


def _values(data: Dataset, column: str) -> list[Any]:
    """One whole column, without the others and without a row at a time."""
    return data.select_columns([column]).with_format("arrow")[:][column].to_pylist()


def _labels(data: Dataset, column: str, posed: Any) -> tuple[list[Any], Sequence[str] | None]:
    """Labels as the problem reads them, None where unknown; and the names that a ``ClassLabel`` gives its numbers."""
    values = _values(data, column)
    names = getattr(data.features[column], "names", None)
    if names is not None:
        return [None if value is None or value < 0 else names[value] for value in values], names
    return [None if value is None or value == "" else posed.label(value) for value in values], None
