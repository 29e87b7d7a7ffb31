"""Where the signals of a bank's rows come from: mapped shards, memory, or another store, moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from limbeck.banks import layout
from limbeck.banks.folder.fields import INDEX_FILE, TEXT
from limbeck.banks.folder.opened import BankFiles
from limbeck.banks.key_index import KeyIndex
from limbeck.banks.shards import as_numpy, corrupt, read_notes, shard_name, text_name
from limbeck.signals.ragged import rows_of

Column = Any  # Tensor [n, ...], Ragged or TopK of n rows, or n strings for the text


class Store(Protocol):
    """Columns of signals by name; every row number is below the number of rows."""

    columns: tuple[str, ...]

    def take(self, names: Sequence[str], rows: np.ndarray) -> dict[str, Column]:
        """Copies of the given rows, in the order asked for."""

    def run(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Consecutive rows; may share memory with the store."""


class ShardStore:
    """The shards of a bank folder, mapped when first touched; their keys must then be those of the index.

    Args:
        files: those of an open bank.    index: its keys.
    """

    _TEXTS_KEPT = 16  # decoded Parquet shards held in memory

    def __init__(self, files: BankFiles, index: KeyIndex) -> None:
        self.files, self.index = files, index
        self.schema: Mapping[str, layout.Entry] = files.manifest.signals
        self.columns = tuple(self.schema)
        self.shard_rows, self.n_rows = files.manifest.shard_rows, len(index)
        self._parts: dict[int, dict[str, Tensor]] = {}
        self._arrays: dict[int, dict[str, np.ndarray]] = {}
        self._texts: dict[int, Any] = {}

    def part(self, number: int) -> dict[str, Tensor]:
        """The mapped tensors of one shard."""
        if number not in self._parts:
            if not 0 <= number * self.shard_rows < self.n_rows:
                raise IndexError(f"there is no shard {number}")
            tensors = self.files.map(shard_name(number), self._tensors)
            self._check_part(number, tensors)
            self._parts[number] = tensors
            self._arrays[number] = {name: as_numpy(t) for name, t in tensors.items()}
        return self._parts[number]

    def _check_part(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        """CorruptShardError unless the tensors fit each other, and these are the rows that the index says."""
        path, start = self.files.folder / shard_name(number), number * self.shard_rows
        n_rows = self._rows_of(number)
        for name in self._numbers:
            layout.check_part(path, name, self.schema[name], tensors, n_rows)
        views = read_notes(path)["views"] if len(self.index.views) > 1 else None
        if not self.index.is_at(start, n_rows, tensors, views):
            raise corrupt(path, f"its keys or labels are not those of {INDEX_FILE}")

    def _rows_of(self, number: int) -> int:
        return min(self.shard_rows, self.n_rows - number * self.shard_rows)

    def arrays(self, number: int) -> dict[str, np.ndarray]:
        """The same as arrays; bfloat16 as its 16 bits."""
        self.part(number)
        return self._arrays[number]

    @cached_property
    def _numbers(self) -> list[str]:
        return [name for name in self.columns if name != TEXT]

    @cached_property
    def _tensors(self) -> tuple[str, ...]:
        """What is mapped of a shard."""
        tensors = (n + suffix for n in self._numbers for suffix in layout.suffixes(self.schema[n]))
        return (*tensors, *self.index.key_tensors, "labels")

    def check(self) -> None:
        """Read what ties the tensors of every shard together: keys, ends of rows, class numbers. CorruptShardError."""
        for number in range(-(-self.n_rows // self.shard_rows)):
            tensors = self.part(number)
            for name in self._numbers:
                layout.check_ids(self.files.folder / shard_name(number), name, self.schema[name], tensors)

    def take(self, names: Sequence[str], rows: np.ndarray) -> dict[str, Column]:
        # numpy gathers rows of a map four times faster than torch indexing does
        shard, local = np.divmod(rows, self.shard_rows)
        order = np.argsort(shard, kind="stable")
        ordered = shard[order]
        cuts = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(rows)]
        pieces = [(int(ordered[a]), order[a:b]) for a, b in pairwise(cuts) if b > a]
        taken: dict[str, Column] = {}
        for name in names:
            if name == TEXT:
                taken[name] = self._take_text(pieces, local)
            else:
                taken[name] = layout.take(name, self.schema[name], pieces, local, self.part, self.arrays)
        return taken

    def _take_text(self, pieces: list[tuple[int, np.ndarray]], local: np.ndarray) -> list[str]:
        out = [""] * len(local)
        for number, where in pieces:
            for position, text in zip(where.tolist(), self._text(number).take(local[where]).to_pylist()):
                out[position] = text
        return out

    def _text(self, number: int) -> Any:
        if number not in self._texts:
            if len(self._texts) >= self._TEXTS_KEPT:
                self._texts.pop(next(iter(self._texts)))
            texts = self.files.texts(text_name(number))
            if len(texts) != self._rows_of(number):
                raise corrupt(
                    self.files.folder / text_name(number),
                    f"it has {len(texts)} rows instead of {self._rows_of(number)}",
                )
            self.part(number)  # its keys are those of the index
            self._texts[number] = texts
        return self._texts[number]

    def run(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        spans = list(_spans(start, stop, self.shard_rows))
        found: dict[str, Column] = {}
        for name in names:
            if name == TEXT:
                found[name] = [t for k, a, b in spans for t in self._text(k).slice(a, b - a).to_pylist()]
            else:
                found[name] = layout.run(name, self.schema[name], spans, self.part)
        return found


def _spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The shards that rows ``start`` to ``stop`` lie in, with the local first and last row of each."""
    for number in range(start // size, max(start, stop - 1) // size + 1):
        yield number, max(start - number * size, 0), min(stop - number * size, size)


class MemoryStore:
    """Columns held in memory, ``[N, ...]`` each."""

    def __init__(self, values: Mapping[str, Column]) -> None:
        self.columns = tuple(values)
        self._values = dict(values)

    def take(self, names: Sequence[str], rows: np.ndarray) -> dict[str, Column]:
        index = torch.from_numpy(np.ascontiguousarray(rows))
        return {name: _rows(self._values[name], index) for name in names}

    def run(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        return {name: _rows(self._values[name], slice(start, stop)) for name in names}


def _rows(column: Column, index: Any) -> Column:
    if not isinstance(column, list):
        return rows_of(column, index)
    return column[index] if isinstance(index, slice) else [column[i] for i in index.tolist()]


class MovedStore:
    """Row ``i`` is row ``rows[i]`` of the base: a subset, or the moved signals of a control."""

    def __init__(self, base: Store, rows: np.ndarray) -> None:
        self.base, self.rows = base, rows
        self.columns = base.columns

    def take(self, names: Sequence[str], rows: np.ndarray) -> dict[str, Column]:
        return self.base.take(names, self.rows[rows])

    def run(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        return self.base.take(names, self.rows[start:stop])


class MappedStore:
    """Another store with a function applied to some columns (classes put in another order)."""

    def __init__(self, base: Store, functions: Mapping[str, Callable[[Column], Column]]) -> None:
        self.base, self.functions = base, functions
        self.columns = base.columns

    def _apply(self, found: dict[str, Column]) -> dict[str, Column]:
        return {name: self.functions[name](v) if name in self.functions else v for name, v in found.items()}

    def take(self, names: Sequence[str], rows: np.ndarray) -> dict[str, Column]:
        return self._apply(self.base.take(names, rows))

    def run(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        return self._apply(self.base.run(names, start, stop))


def class_means(store: Store, labels: np.ndarray, counts: np.ndarray) -> dict[str, Tensor]:
    """Means over each class, float32, summed in float64; NaN for an absent class. Of texts, rows of different lengths
    and likeliest classes there is no mean."""
    first = store.run([name for name in store.columns if name != TEXT], 0, 1)
    names = [name for name, value in first.items() if isinstance(value, Tensor)]
    sums: dict[str, Tensor] = {}
    for start in range(0, len(labels), 8192):
        stop = min(start + 8192, len(labels))
        classes = torch.from_numpy(labels[start:stop])
        known = classes >= 0
        for name, value in store.run(names, start, stop).items():
            value = value[known].double()
            value = value.exp() if name == "log_probs" else value
            total = sums.setdefault(name, torch.zeros(len(counts), *value.shape[1:], dtype=torch.float64))
            total.index_add_(0, classes[known], value)
    means = {}
    for name, total in sums.items():
        mean = total / torch.from_numpy(counts).reshape(-1, *[1] * (total.dim() - 1))
        means[name] = (mean.log() if name == "log_probs" else mean).float()
    return means
