"""Inputs of a user's own rows that may be more than memory holds: kept in memory while they are few, else on disk.

Axis legend: n rows asked for, N rows, d columns.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Inputs, Table, texts
from limbeck.data.own.arrow import ArrowTable

IN_MEMORY = 256 * 2**20  # bytes of inputs that are kept in memory
_PIECE = 16 * 2**20  # bytes that go to a file at once, once there is one
_AT_ONCE = 10_000  # rows
_OF_A_TEXT = 57  # bytes of an empty text and of what points to it


@functools.cache
def _scratch(process: int) -> Path:
    """A folder of this process for what does not fit in memory; it goes with the process (``TMPDIR`` says where)."""
    folder = Path(tempfile.mkdtemp(prefix="limbeck-"))

    def remove() -> None:
        if os.getpid() == process:  # not in the workers that it forked
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _new_file(suffix: str) -> Path:
    handle, path = tempfile.mkstemp(suffix=suffix, dir=_scratch(os.getpid()))
    os.close(handle)
    return Path(path)


@dataclass(frozen=True)
class NumberTable:
    """Rows of numbers ``[N, d]`` float32 in a file."""

    path: Path
    shape: tuple[int, int]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("x",)

    def rows(self, index: Tensor) -> Inputs:
        mapped = np.memmap(self.path, dtype=np.float32, mode="r", shape=self.shape)
        return {"x": torch.from_numpy(np.array(mapped[index.numpy()]))}


@dataclass(frozen=True)
class Standardised:
    """Rows of numbers less their mean over their deviation, ``[d]`` each (of series ``[c, 1]``), in one column."""

    table: Table
    mean: Tensor
    deviation: Tensor
    column: str = "x"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.table.columns

    def rows(self, index: Tensor) -> Inputs:
        found = self.table.rows(index)
        return {**found, self.column: (found[self.column] - self.mean) / self.deviation}


@dataclass(frozen=True)
class MediaTable:
    """Pictures or sounds that are read when they are asked for.

    Args:
        values: of the N rows: paths, or what else a reader takes (bytes, a column of a data set).
        read: one value to the tensor of a row.
    """

    values: Any
    read: Callable[[Any], Tensor]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("x",)

    def rows(self, index: Tensor) -> Inputs:
        if not len(index):  # of no rows, but of their shape
            return {"x": self.read(self.values[0])[None][:0] if len(self.values) else torch.zeros(0)}
        return {"x": torch.stack([self.read(self.values[i]) for i in index.tolist()])}


@dataclass(frozen=True)
class DataColumn:
    """Cells of one column of a ``datasets.Dataset``, read one by one.

    Args:
        rows: their numbers in it.
    """

    data: Any
    column: str
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.data[self.rows[i]][self.column]


class NumberStore:
    """Rows of numbers as they come, in memory up to ``limit`` bytes, beyond that in a file."""

    def __init__(self, limit: float = IN_MEMORY) -> None:
        self._limit, self._blocks = limit, list[np.ndarray]()
        self._bytes = self._rows = self._width = 0
        self._path: Path | None = None

    def add(self, block: np.ndarray) -> None:
        """``[n, d]`` float32."""
        self._blocks.append(block)
        self._bytes += block.nbytes
        self._rows, self._width = self._rows + len(block), block.shape[1]
        if self._bytes > self._limit:
            self._flush()

    def _flush(self) -> None:
        self._path = self._path or _new_file(".f32")
        with self._path.open("ab") as file:
            for block in self._blocks:
                file.write(np.ascontiguousarray(block).tobytes())
        self._blocks, self._bytes, self._limit = [], 0, min(self._limit, _PIECE)

    def inputs(self) -> Mapping[str, Tensor] | Table:
        """All of them."""
        if self._path is None:
            return {"x": torch.from_numpy(np.concatenate(self._blocks))}
        self._flush()
        return NumberTable(self._path, (self._rows, self._width))


class TextStore:
    """Columns of texts (or of lists of texts) as they come, in memory up to ``limit`` bytes, beyond that in an Arrow
    file."""

    def __init__(self, limit: float = IN_MEMORY) -> None:
        self._limit, self._columns, self._bytes = limit, dict[str, list[Any]](), 0
        self._writer: Any = None
        self._path: Path | None = None

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Some rows: column to texts, or to tuples of texts."""
        for name, values in columns.items():
            self._columns.setdefault(name, []).extend(values)
            self._bytes += sum(len(v) if isinstance(v, str) else sum(map(len, v)) for v in values)
            self._bytes += _OF_A_TEXT * len(values)
        if self._bytes > self._limit:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        n = len(next(iter(self._columns.values())))
        for first in range(0, n, _AT_ONCE):  # a copy of some rows, not of all
            part = {
                name: [_listed(value) for value in values[first : first + _AT_ONCE]]
                for name, values in self._columns.items()
            }
            batch = pa.Table.from_pydict(part)
            if self._writer is None:
                self._path = _new_file(".arrow")
                self._writer = pa.ipc.new_stream(str(self._path), batch.schema)
            self._writer.write_table(batch)
        self._columns, self._bytes, self._limit = {}, 0, min(self._limit, _PIECE)

    def inputs(self) -> Mapping[str, np.ndarray] | Table:
        """All of them."""
        if self._writer is None:
            return {name: texts(values) for name, values in self._columns.items()}
        from datasets import Dataset

        if self._columns:
            self._flush()
        self._writer.close()
        data = Dataset.from_file(str(self._path))
        return ArrowTable(data, {name: name for name in data.column_names})


def _listed(value: Any) -> Any:
    return value if isinstance(value, str) else list(value)
