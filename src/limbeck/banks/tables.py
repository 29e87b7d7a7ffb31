"""A table of embeddings is a teacher too: a bank of columns that exist already, read in chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.arrays import rows_a_shard
from limbeck.banks.build import BuildSettings, build_bank
from limbeck.banks.rows import RowColumns
from limbeck.banks.table_cells import BadCell, boxes_of, numbers, width_of_cells
from limbeck.banks.table_rows import check_column, keys_and_labels
from limbeck.data.files.table_files import Chunk, TableFile, table_file
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.signals.cells import text_of
from limbeck.signals.key import Key
from limbeck.signals.output import BOXES, AccessLevel, TeacherOutput, as_signal
from limbeck.signals.ragged import Ragged

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
    boxes: str | None = None,
    box_labels: str | None = None,
    box_scores: str | None = None,
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
        boxes: column of lists of x0, y0, x1, y1, as many as a row has (in a CSV as JSON: ``[[0, 0, 5, 5]]``).
        box_labels, box_scores: columns of lists of class numbers and of scores, one for each box.
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
    lists = {"boxes": boxes, "box_labels": box_labels, "box_scores": box_scores}
    taken = {key, label, text, *lists.values()}
    for name in (key, label, text, *lists.values()):
        check_column(table, name)
    asked = {"features": features, "logits": logits, "log_probs": log_probs}
    vectors = {signal: _expand(table, names, taken) for signal, names in asked.items() if names is not None}
    if not vectors and text is None and boxes is None:
        raise ConfigError(
            f"Name what the teacher says: features=, logits=, log_probs=, boxes= or text=, columns of {table.name} "
            f"({some(table.columns)})."
        )
    keys, labels, found = keys_and_labels(table, key, label, class_names)
    names = class_names if class_names is not None else found
    rows = _Rows(table, keys, labels, vectors, text, {signal: name for signal, name in lists.items() if name})
    first = {name: as_signal(name, value) for name, value in next(rows.chunks(), {}).items()}
    says = {"logits", "log_probs"} & set(vectors) or boxes is not None
    access: AccessLevel = "logits" if says else "features" if vectors else "text"
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
        # boxes also where those of a batch happen to be as many in every row, and were stacked
        lists = {name: Ragged.of(list(value)) for name, value in inputs.items() if name in BOXES}
        return TeacherOutput(**{**inputs, **lists})

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
    lists: Mapping[str, str] = field(default_factory=dict)  # boxes and what belongs to them
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
        """Signal name to a tensor ``[n, D]`` float32, to ``n`` texts, or to ``n`` tensors of boxes."""
        texts = [] if self.text is None else [self.text]
        wanted = list(dict.fromkeys(chain(*self.vectors.values(), texts, self.lists.values())))
        for chunk in self.table.rows(wanted, _ROWS):
            found: dict[str, Any] = {
                signal: torch.cat([self._matrix(chunk, name) for name in names], dim=1)
                for signal, names in self.vectors.items()
            }
            if self.text is not None:
                found["text"] = [text_of(value) for value in chunk.values(self.text)]
            for signal, name in self.lists.items():
                with self._placed(chunk, name):
                    found[signal] = boxes_of(chunk.values(name), signal)
            yield found

    def _matrix(self, chunk: Chunk, name: str) -> Tensor:
        """One column as ``[n, numbers a row]`` float32."""
        with self._placed(chunk, name):
            with np.errstate(over="ignore"):  # beyond float32: told below
                column = chunk.column(name)
                rows = numbers(column, self.widths.setdefault(name, width_of_cells(column)))
            wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(wrong):
                raise BadCell(int(wrong[0]), "a number that is not finite")
        return torch.from_numpy(rows)

    @contextmanager
    def _placed(self, chunk: Chunk, name: str) -> Iterator[None]:
        """DataError that says where a bad cell stands."""
        try:
            yield
        except BadCell as bad:
            place = f"{self.table.unit} {chunk.places[bad.row]} of {self.table.name}"
            raise DataError(f"{place} has {bad.what} in column {name!r}; mend or remove it.") from None


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
