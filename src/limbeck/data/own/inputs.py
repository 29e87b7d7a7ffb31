"""From the cells of a user's table to texts and numbers, a run of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from limbeck.data.base import Table
from limbeck.data.files.readers import row_numbers
from limbeck.data.files.records import Record
from limbeck.data.files.table_files import Chunk
from limbeck.data.own.stored import IN_MEMORY, NumberStore, TextStore
from limbeck.data.own.text_rows import empty_column
from limbeck.errors import DataError
from limbeck.signals.cells import text_of

_LIMITS = {True: math.inf, False: 0, None: IN_MEMORY}  # bytes by Side.in_memory
Bad = dict[int, str]  # a row's place in a chunk, or among the rows that were kept, to what is wrong with it


class Reading(Protocol):
    """How one modality is read."""

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the table that it reads."""

    def take(self, chunk: Chunk) -> tuple[list[Any], Bad]:
        """What the rows of a chunk are, None where they are bad."""

    def keep(self, values: Sequence[Any], places: Sequence[int]) -> None:
        """Keep some of them; ``places`` are their rows in the table."""

    def finish(self) -> tuple[Mapping[str, Any] | Table, dict[str, Any], Bad]:
        """The inputs of the rows that were kept and are not bad, how they were made, and those that are bad."""


# ---- texts -----------------------------------------------------------------------------------------------------


class Texts:
    """Columns ``text``, ``text_pair`` and ``choices``; a row with an empty one is bad."""

    def __init__(self, of: Mapping[str, str | tuple[str, ...]], in_memory: bool | None) -> None:
        self.of = dict(of)
        self.n_choices: int | None = None
        self._store = TextStore(_LIMITS[in_memory])

    @property
    def columns(self) -> list[str]:
        return [n for name in self.of.values() for n in ([name] if isinstance(name, str) else name)]

    @property
    def choice_names(self) -> tuple[str, ...]:
        """What the choices of a row are called: their columns, or numbers."""
        own = self.of["choices"]
        return own if isinstance(own, tuple) else tuple(f"choice {i}" for i in range(self.n_choices or 0))

    def take(self, chunk: Chunk) -> tuple[list[Any], Bad]:
        cells = {name: chunk.values(name) for name in self.columns}
        values: list[Any] = []
        bad: Bad = {}
        for row in range(len(chunk.places)):
            try:
                values.append({role: self._cell(cells, name, row) for role, name in self.of.items()})
                if empty := empty_column(values[-1]):
                    raise DataError(f"has an empty {empty}")
            except DataError as error:
                values[row:] = [None]
                bad[row] = str(error)
        return values, bad

    def _cell(self, cells: Mapping[str, Sequence[Any]], name: str | tuple[str, ...], row: int) -> Any:
        if isinstance(name, tuple):
            return tuple(text_of(cells[one][row]).strip() for one in name)
        cell = cells[name][row]
        if name != self.of.get("choices"):
            return text_of(cell).strip()
        if not isinstance(cell, (list, tuple)) or len(cell) < 2:
            raise DataError(f"has {cell!r} where a list of at least two choices is needed")
        self.n_choices = self.n_choices or len(cell)
        if len(cell) != self.n_choices:
            raise DataError(f"offers {len(cell)} choices where the first row offers {self.n_choices}")
        return tuple(text_of(text) for text in cell)

    def keep(self, values: Sequence[Any], places: Sequence[int]) -> None:
        self._store.add({role: [value[role] for value in values] for role in self.of})

    def finish(self) -> tuple[Mapping[str, Any] | Table, dict[str, Any], Bad]:
        names = {role: list(n) if isinstance(n, tuple) else n for role, n in self.of.items() if n != role}
        settings = {"kind": "text", "columns": list(self.of)} | ({"names": names} if names else {})
        return self._store.inputs(), settings, {}


# ---- numbers ---------------------------------------------------------------------------------------------------


def _floats(cells: Sequence[Any]) -> list[float]:
    """A column as numbers; ValueError or TypeError where a cell is none."""
    if cells and isinstance(cells[0], bool):
        raise TypeError
    if (
        cells and isinstance(cells[0], str) and "_" in "".join(cells)
    ):  # 1_000, which Python takes for a number
        raise ValueError
    return list(map(float, cells))


class Numbers:
    """Columns of numbers as ``x [N, columns]``; a row that has none, or one that is not finite, is bad."""

    def __init__(self, columns: Sequence[str], source: str, in_memory: bool | None) -> None:
        self.columns, self._source = list(columns), source
        self._store = NumberStore(_LIMITS[in_memory])

    def take(self, chunk: Chunk) -> tuple[list[Any], Bad]:
        cells = [chunk.values(name) for name in self.columns]
        try:
            block = np.array([_floats(column) for column in cells])
            if not np.isfinite(block).all():
                raise ValueError
            return list(block.T.astype(np.float32)), {}
        except (ValueError, TypeError, OverflowError):  # the last of whole numbers beyond all floats
            return self._one_by_one(cells)

    def _one_by_one(self, cells: Sequence[Sequence[Any]]) -> tuple[list[Any], Bad]:
        values: list[Any] = []
        bad: Bad = {}
        for row, numbers in enumerate(zip(*cells, strict=True)):
            try:
                record = Record(dict(zip(self.columns, numbers, strict=True)), "it of ")
                values.append(row_numbers(record, self.columns, self._source).numpy())
            except DataError as error:
                values.append(None)
                bad[row] = str(error).partition(f" of {self._source} ")[2].partition(";")[0].rstrip(".")
        return values, bad

    def keep(self, values: Sequence[Any], places: Sequence[int]) -> None:
        if values:
            self._store.add(np.stack(values))

    def finish(self) -> tuple[Mapping[str, Any] | Table, dict[str, Any], Bad]:
        return self._store.inputs(), {"kind": "table", "columns": self.columns}, {}
