"""Paid teachers are asked about everything first; their bank is then compiled from the answers they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from limbeck.banks.files import log
from limbeck.banks.folder.opened import BankFiles
from limbeck.banks.manifest import MANIFEST_FILE, Manifest
from limbeck.banks.rows import RowBatch, RowColumns, RowReader
from limbeck.errors import CorruptShardError
from limbeck.signals.key import Key
from limbeck.signals.teacher import AsksAhead, Teacher


class RowBatches:
    """A data set in batches, from the start each time it is iterated; ``total`` rows, ``None`` = unknown."""

    def __init__(
        self, data: Any, columns: RowColumns, class_names: Sequence[str] | None = None, batch_size: int = 64
    ) -> None:
        self._arguments, self._batch_size = (data, columns, class_names), batch_size
        self.total = RowReader(*self._arguments).total

    def __iter__(self) -> Iterator[RowBatch]:
        reader = RowReader(*self._arguments)
        while len(batch := reader.take(self._batch_size)):
            yield batch


class LeftOut:
    """The rows that a bank leaves out; finding them asks the teacher about everything, at most once.

    Args:
        again: ask also about the rows that a finished bank lacks.
    """

    def __init__(self, folder: Path, teacher: Teacher, rows: Callable[[], RowBatches], again: bool) -> None:
        self._folder, self._teacher, self._rows, self._again = folder, teacher, rows, again
        self._asked: dict[str, list[Key]] | None = None

    def __call__(self, where: Path) -> dict[str, list[Key]]:
        """Keys without an answer for good, by reason; nothing is asked for a bank that is finished ``where`` it is
        built, which may be beside a finished one of another teacher."""
        if not isinstance(self._teacher, AsksAhead):
            return {}
        if self._asked is None:
            found = finished(where)
            if found is not None and not (self._again and found.missing):
                return found.missing
            self._asked = by_reason(self._teacher.collect(self._rows(), partial(log, self._folder)))
        return self._asked


def finished(folder: Path) -> Manifest | None:
    """The manifest of a bank that is there with all its files, about which nobody need be asked."""
    if not (folder / MANIFEST_FILE).is_file():
        return None
    found = Manifest.read(folder)
    if found.state != "complete":
        return None
    try:
        BankFiles(folder, found)
    except CorruptShardError:
        return None
    return found


def by_reason(missing: Mapping[Key, str]) -> dict[str, list[Key]]:
    """Reasons in alphabetic order, the keys of each in the order of the data."""
    return {
        reason: [key for key, why in missing.items() if why == reason]
        for reason in sorted(set(missing.values()))
    }
