"""A table of embeddings is a teacher too: a bank of columns that exist already, read in chunks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.arrays import rows_a_shard
from limbeck.banks.build import BuildSettings, build_bank
from limbeck.banks.rows import RowColumns
from limbeck.banks.table_rows import check_column, keys_and_labels
from limbeck.data.files.table_files import Chunk, TableFile, table_file
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.signals.cells import number_of, text_of
from limbeck.signals.key import Key
from limbeck.signals.output import AccessLevel, TeacherOutput

if TYPE_CHECKING:
    pass

_ROWS = 1024  # read at once
Names = str | Sequence[str]


def write_table(
    path: str | Path,
    source: Any,
    *,
    key: str | None = "id",
    features: Names | None = None,
    logits: Names | None = None,
    log_probs: Names | None = None,
    text: str | None = None,
    label: str | None = None,
    class_names: Sequence[str] | None = None,
    dtype: str | torch.dtype = "float32",
    licence: str = "",
    overwrite: bool = False,
) -> None:
    """Write a bank at ``path`` of a table of embeddings, logits or texts; memory does not grow with the table.

    Where the same bank is there already nothing is written, and one that was interrupted is gone on with.

    Args:
        source: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, a folder of Parquet files or of ``Dataset.save_to_disk``,
            a ``datasets.Dataset``, an Arrow table, or a frame of pandas or polars.
        key: column of unique keys (``None``: row numbers); of whole numbers in a CSV, the keys are integers (texts as
            they stand where one of them has leading zeros or more than 64 bits).
        features, logits, log_probs: one column that holds lists of numbers (in a CSV as JSON: ``[0.1, -2]``), the
            columns that hold one number each, or a pattern for their names (``"f*"``, taken in the order f1, f2, ...,
            f10).
        text: column of the teacher's texts.
        label: column of class numbers or names; empty = unknown.
        class_names: in the order of labels and logits; default: of labels that are names, the sorted names.
        dtype: ``float16``, ``bfloat16`` or ``float32``.    licence: what the owner of the table allows.
        overwrite: replace another bank at ``path``.

    Raises: DataError naming file, column and row: a cell that is no finite number, lists of different lengths, a key
        that is missing or comes twice.    UnknownNameError: no such column.    ConfigError: no signal is named.
        StaleFingerprintError: another bank is at ``path``.
    """
    table = table_file(source)
    if not table.columns:
        raise DataError(f"{table.name} is empty: it has no columns.")
    for name in (key, label, text):
        check_column(table, name)
    taken = {key, label, text}
    asked = {"features": features, "logits": logits, "log_probs": log_probs}
    vectors = {signal: _expand(table, names, taken) for signal, names in asked.items() if names is not None}
    if not vectors and text is None:
        raise ConfigError(
            f"Name what the teacher says: features=, logits=, log_probs= or text=, columns of {table.name} "
            f"({some(table.columns)})."
        )
    keys, labels, found = keys_and_labels(table, key, label, class_names)
    names = class_names if class_names is not None else found
    rows = _Rows(table, keys, labels, vectors, text)
    first = next(rows.chunks(), {})
    access: AccessLevel = (
        "logits" if {"logits", "log_probs"} & set(vectors) else "features" if vectors else "text"
    )
    settings = BuildSettings(
        batch_size=_ROWS,
        shard_size=rows_a_shard(first, dtype),
        dtype=dtype,
        licence=licence,
        overwrite=overwrite,
    )
    said = _Said(access, None if names is None else tuple(names))
    build_bank(path, said, rows, RowColumns(key="key", label="label"), settings)


@dataclass
class _Said:
    """The teacher whose answers are what it is shown."""

    access: AccessLevel
    class_names: tuple[str, ...] | None
    head: None = None

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        return TeacherOutput(**inputs)

    def fingerprint(self) -> dict[str, str]:
        return {}  # the content is hashed row by row, as inputs


@dataclass
class _Rows:
    """The table as rows, signal name to value, beside key and label; may be read several times."""

    table: TableFile
    keys: Sequence[Key]
    labels: Sequence[int]
    vectors: Mapping[str, Sequence[str]]
    text: str | None
    widths: dict[str, int] = field(default_factory=dict)  # of the list columns, by the first row

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        at = 0
        for columns in self.chunks():
            for values in zip(*columns.values()):
                yield {"key": self.keys[at], "label": self.labels[at], **dict(zip(columns, values))}
                at += 1

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Signal name to a tensor ``[n, D]`` float32, or to ``n`` texts."""
        texts = [] if self.text is None else [self.text]
        wanted = list(dict.fromkeys(chain(*self.vectors.values(), texts)))
        for chunk in self.table.rows(wanted, _ROWS):
            found: dict[str, Any] = {
                signal: torch.cat([self._matrix(chunk, name) for name in names], dim=1)
                for signal, names in self.vectors.items()
            }
            if self.text is not None:
                found["text"] = [text_of(value) for value in chunk.values(self.text)]
            yield found

    def _matrix(self, chunk: Chunk, name: str) -> Tensor:
        """One column as ``[n, numbers a row]`` float32."""
        try:
            with np.errstate(over="ignore"):  # beyond float32: told below
                column = chunk.column(name)
                rows = _numbers(column, self.widths.setdefault(name, _width(column)))
            wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(wrong):
                raise _BadCell(int(wrong[0]), "a number that is not finite")
        except _BadCell as bad:
            place = f"{self.table.unit} {chunk.places[bad.row]} of {self.table.name}"
            raise DataError(f"{place} has {bad.what} in column {name!r}; mend or remove it.") from None
        return torch.from_numpy(rows)


# ---- cells ---------------------------------------------------------------------------------------------------


class _BadCell(Exception):
    """A cell that is no vector of numbers: its row in the chunk, and what stands there."""

    def __init__(self, row: int, what: str) -> None:
        self.row, self.what = row, what


def _width(column: Any) -> int:
    """Numbers in the first cell."""
    value = column[0] if isinstance(column, list) else column[0].as_py()
    if isinstance(value, str) and value.lstrip().startswith("["):
        return len(_parsed(value, 0))
    return len(value) if isinstance(value, (list, tuple)) else 1


def _numbers(column: Any, width: int) -> np.ndarray:
    """``[n, width]`` float32 of a column of a chunk: cells of a CSV, values of JSON, or Arrow lists and numbers.

    Raises: _BadCell.
    """
    import pyarrow as pa

    if isinstance(column, list):
        return _numbers_of_cells(column, width)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _numbers_of_cells(column.to_pylist(), width)
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if is_list else kind
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise _BadCell(0, f"{kind} and no list of numbers")
    if column.null_count:
        raise _BadCell(column.is_null().to_pylist().index(True), "nothing")
    if not is_list:
        return column.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, 1)
    _check_widths(column.value_lengths().to_pylist(), width)
    values = column.flatten()
    if values.null_count:
        raise _BadCell(values.is_null().to_pylist().index(True) // width, "a list with a gap")
    return values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)


def _numbers_of_cells(cells: list[Any], width: int) -> np.ndarray:
    if width == 1:
        try:  # the common case, fast; it takes 1_000 too, so not where there is such a sign
            if "_" not in (joined := ",".join(cells)) and "[" not in joined:
                return np.asarray([float(cell) for cell in cells], dtype=np.float32).reshape(-1, 1)
        except (TypeError, ValueError):
            pass  # told below, with its place
    rows = [_parsed(cell, row) for row, cell in enumerate(cells)]
    _check_widths([len(row) for row in rows], width)
    try:
        return np.asarray(rows, dtype=np.float32)
    except OverflowError:  # a whole number of hundreds of digits
        return np.asarray([[float(str(number)) for number in row] for row in rows], dtype=np.float32)


def _check_widths(widths: Iterable[int], width: int) -> None:
    for row, found in enumerate(widths):
        if found != width or not found:
            raise _BadCell(row, f"{found} numbers ({width} in the first row)")


def _parsed(cell: Any, row: int) -> list[float]:
    """The numbers of a list (in a CSV as JSON), or of a single number."""
    try:
        value = cell
        if isinstance(cell, str):
            value = json.loads(cell) if cell.lstrip().startswith("[") else [number_of(cell)]
        elif not isinstance(cell, (list, tuple)):
            value = [number_of(cell)]
        if all(type(number) in (int, float) for number in value):
            return list(value)
    except (ValueError, RecursionError):
        pass
    shown = "nothing" if cell is None else repr(cell) if len(repr(cell)) < 40 else repr(cell)[:37] + "..."
    raise _BadCell(row, f"{shown}, neither a number nor a JSON list of numbers,")


# ---- columns -------------------------------------------------------------------------------------------------


def _expand(table: TableFile, names: Names, taken: set[str | None]) -> list[str]:
    """The columns of a name, a list of names, or a pattern (without those taken otherwise)."""
    if not isinstance(names, str) or names in table.columns:
        listed = [names] if isinstance(names, str) else list(names)
        for name in listed:
            check_column(table, name)
        if not listed:
            raise ConfigError("A signal needs at least one column; the list is empty.")
        return listed
    found = [
        name for name in table.columns if "*" in names and fnmatchcase(name, names) and name not in taken
    ]
    if not found:
        raise UnknownNameError(f"{table.name} has no column {names!r}; {nearest(names, table.columns)}")
    return sorted(found, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])
