"""Ordinary Python values as rows: frames of pandas and polars, Arrow tables, mappings of columns, structured arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.errors import DataError, some


class Columns:
    """Columns of equal length, read a run of rows at a time, as a ``datasets.Dataset`` is."""

    def __init__(self, columns: Mapping[str, Any], length: int) -> None:
        self._columns, self._length = dict(columns), length
        self.column_names = tuple(self._columns)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice) -> dict[str, list[Any]]:
        return {name: _values(column[rows]) for name, column in self._columns.items()}


def as_rows(data: Any) -> Any:
    """``data`` as something that gives rows: itself where it is a sequence or stream of rows, else :class:`Columns`.

    Raises: DataError, a sentence: several splits, columns of different lengths or of one name, one row alone, an array
        without names.
    """
    if hasattr(data, "iloc"):
        return _frame(data)
    if hasattr(data, "to_arrow") and hasattr(data, "columns"):  # polars
        data = data.to_arrow()
    if hasattr(data, "to_pydict") and hasattr(data, "slice"):
        names = list(data.schema.names)
        _check_names(names)
        return Columns({name: _ArrowColumn(data.column(name)) for name in names}, data.num_rows)
    if isinstance(data, Mapping):
        return _mapping(data)
    if fields := getattr(getattr(data, "dtype", None), "names", None):
        return Columns({name: data[name] for name in fields}, len(data))
    if hasattr(data, "dtype") and hasattr(data, "shape"):
        raise DataError(
            f"The data are an array of shape {list(data.shape)}; give it a name and keys: {{'id': keys, 'x': array}}."
        )
    return data


class _ArrowColumn:
    def __init__(self, column: Any) -> None:
        self._column = column

    def __getitem__(self, rows: slice) -> list[Any]:
        return self._column.slice(rows.start, rows.stop - rows.start).to_pylist()


def _frame(frame: Any) -> Columns:
    """Of pandas: gaps (``NaN`` among texts, ``NaT``, ``NA``) are nothing; in a column of numbers NaN stays a number."""
    if not hasattr(frame, "columns"):
        raise DataError("The data are one column (a Series); give a frame with a column of keys beside it.")
    names = [str(name) for name in frame.columns]
    _check_names(names)

    columns: dict[str, Any] = {}
    for at, name in enumerate(names):
        column = frame.iloc[:, at]
        if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "biuf":
            column = column.astype(object).where(column.notna(), None)
        columns[name] = column.to_numpy()
    return Columns(columns, len(frame))


def _mapping(data: Mapping[Any, Any]) -> Columns:
    if not data:
        raise DataError("The data hold no columns.")
    if any(hasattr(part, "column_names") for part in data.values()):  # a DatasetDict
        first = next(iter(data))
        raise DataError(f"The data hold several splits ({some(data)}); give one of them: data[{first!r}].")
    lengths: dict[str, int] = {}
    for name, column in data.items():
        if isinstance(column, (str, bytes)) or not (
            hasattr(column, "__len__") and hasattr(column, "__getitem__")
        ):
            raise DataError(
                f"The data are one mapping whose {name!r} is {type(column).__name__}; give a list of rows, or a "
                "mapping of column name to the values of all rows."
            )
        try:
            lengths[str(name)] = len(column)
        except TypeError as error:  # an array or tensor of one number
            raise DataError(f"The column {name!r} is a single value; give one for each row.") from error
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} {n}" for name, n in lengths.items())
        raise DataError(f"The columns have different lengths ({shown}); every row needs a value in each.")
    columns = {str(name): _plain(column) for name, column in data.items()}
    return Columns(columns, next(iter(lengths.values())))


def _plain(column: Any) -> Any:
    """A column that can be cut: of pandas its values."""
    return column.to_numpy() if hasattr(column, "iloc") else column


def _values(column: Any) -> list[Any]:
    """Some rows of a column as Python values; of an array with further axes as arrays."""
    if getattr(column, "ndim", None) == 1 and hasattr(column, "tolist"):
        return column.tolist()
    if isinstance(column, Mapping):
        raise DataError("A column is a mapping; give a list of values.")
    return list(column)


def _check_names(names: Sequence[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"The data have the column {twice[0]!r} twice; name its columns differently.")
