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
from limbeck.banks.table_files import Chunk, TableFile, table_file
from limbeck.errors import ClassNamesError, ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key
from limbeck.signals.output import AccessLevel, TeacherOutput

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1024  # read at once
_WHOLE = re.compile(r"\s*-?\d+\s*")
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
        source: ``.csv``, ``.tsv``, ``.parquet``, a folder of Parquet files or of ``Dataset.save_to_disk``, or a
            ``datasets.Dataset``.
        key: column of unique keys (``None``: row numbers); of whole numbers in a CSV, the keys are integers.
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
        _check_column(table, name)
    taken = {key, label, text}
    asked = {"features": features, "logits": logits, "log_probs": log_probs}
    vectors = {signal: _expand(table, names, taken) for signal, names in asked.items() if names is not None}
    if not vectors and text is None:
        raise ConfigError(
            f"Name what the teacher says: features=, logits=, log_probs= or text=, columns of {table.name} "
            f"({some(table.columns)})."
        )
    keys, labels, found = _keys_and_labels(table, key, label, class_names)
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
        for chunk in self.table.chunks(wanted, _ROWS):
            found: dict[str, Any] = {
                signal: torch.cat([self._matrix(chunk, name) for name in names], dim=1)
                for signal, names in self.vectors.items()
            }
            if self.text is not None:
                found["text"] = [value or "" for value in chunk.columns[self.text].to_pylist()]
            yield found

    def _matrix(self, chunk: Chunk, name: str) -> Tensor:
        """One column as ``[n, numbers a row]`` float32."""
        try:
            with np.errstate(over="ignore"):  # beyond float32: told below
                rows = _numbers(
                    chunk.columns[name], self.widths.setdefault(name, _width(chunk.columns[name]))
                )
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


def _width(column: pa.Array) -> int:
    """Numbers in the first cell."""
    value = column[0].as_py()
    if isinstance(value, str) and value.lstrip().startswith("["):
        return len(_parsed(value, 0))
    return len(value) if isinstance(value, list) else 1


def _numbers(column: pa.Array, width: int) -> np.ndarray:
    """``[n, width]`` float32 of Arrow lists, numbers, or the texts of a CSV. Raises _BadCell."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        rows = [_parsed(cell, row) for row, cell in enumerate(column.to_pylist())]
        _check_widths([len(row) for row in rows], width)
        return np.asarray(rows, dtype=np.float32)
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


def _check_widths(widths: Iterable[int], width: int) -> None:
    for row, found in enumerate(widths):
        if found != width or not found:
            raise _BadCell(row, f"{found} numbers ({width} in the first row)")


def _parsed(cell: str | None, row: int) -> list[float]:
    """The numbers of a JSON list, or of a single number."""
    try:
        value = json.loads(cell or "") if (cell or "").lstrip().startswith("[") else [float(cell or "")]
        if all(type(number) in (int, float) for number in value):
            return value
    except ValueError:
        pass
    shown = repr(cell if cell is None or len(cell) < 40 else cell[:37] + "...")
    raise _BadCell(row, f"{shown}, neither a number nor a JSON list of numbers,")


# ---- columns -------------------------------------------------------------------------------------------------


def _check_column(table: TableFile, name: str | None) -> None:
    if name is not None and name not in table.columns:
        raise UnknownNameError(f"{table.name} has no column {name!r}; {nearest(name, table.columns)}")


def _expand(table: TableFile, names: Names, taken: set[str | None]) -> list[str]:
    """The columns of a name, a list of names, or a pattern (without those taken otherwise)."""
    if not isinstance(names, str) or names in table.columns:
        listed = [names] if isinstance(names, str) else list(names)
        for name in listed:
            _check_column(table, name)
        if not listed:
            raise ConfigError("A signal needs at least one column; the list is empty.")
        return listed
    found = [
        name for name in table.columns if "*" in names and fnmatchcase(name, names) and name not in taken
    ]
    if not found:
        raise UnknownNameError(f"{table.name} has no column {names!r}; {nearest(names, table.columns)}")
    return sorted(found, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])


def _keys_and_labels(
    table: TableFile, key: str | None, label: str | None, class_names: Sequence[str] | None
) -> tuple[list[Key], list[int], list[str] | None]:
    """Keys and class numbers of all rows, and the class names if the labels are names; one pass over two columns."""
    keys: list[Any] = []
    labels: list[Any] = []
    places: list[int] = []
    wanted = [name for name in (key, label) if name is not None] or [table.columns[0]]
    for chunk in table.chunks(wanted, 16 * _ROWS):
        places += chunk.places
        keys += chunk.columns[key].to_pylist() if key is not None else []
        labels += chunk.columns[label].to_pylist() if label is not None else []
    if not places:
        raise DataError(f"{table.name} holds no rows.")
    if key is not None:
        keys = _checked_keys(table, key, keys, places)
    numbers, found = _numbered(labels, class_names, table.name, str(label))
    return keys or list(range(len(places))), numbers or [UNLABELLED] * len(places), found


def _checked_keys(table: TableFile, column: str, keys: list[Any], places: list[int]) -> list[Key]:
    for place, value in zip(places, keys):
        if value is None or value == "":
            raise DataError(f"{table.unit} {place} of {table.name} has no key in column {column!r}.")
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise DataError(
                f"{table.unit} {place} of {table.name} has the key {value!r}; take whole numbers or texts."
            )
    if table.unit == "line" and all(_WHOLE.fullmatch(value) for value in keys):
        keys = [int(value) for value in keys]
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
    labels: list[Any], class_names: Sequence[str] | None, name: str, column: str
) -> tuple[list[int], list[str] | None]:
    """Class numbers, -100 where empty; the sorted names where the labels are names and ``class_names`` is None."""
    known = {value for value in labels if not _is_empty(value)}
    names = None if class_names is None else list(class_names)
    texts = {value for value in known if isinstance(value, str)}
    if all(_WHOLE.fullmatch(value) for value in texts) and not texts <= set(names or ()):
        texts = set()
    if not texts:
        return [
            UNLABELLED if _is_empty(value) else _class_number(value, name, column) for value in labels
        ], None
    found = sorted(str(value) for value in known) if names is None else names
    if unknown := known - set(found):
        raise ClassNamesError(
            f"{name} has labels in column {column!r} that are no class names: {some(unknown)}."
        )
    number = {value: i for i, value in enumerate(found)}
    return [number.get(str(value), UNLABELLED) for value in labels], found


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN: a gap in a column of numbers


def _class_number(value: Any, name: str, column: str) -> int:
    number = float(value)
    if not number.is_integer():
        raise DataError(
            f"{name} has the label {value!r} in column {column!r}; give class names or whole numbers."
        )
    return int(number)
