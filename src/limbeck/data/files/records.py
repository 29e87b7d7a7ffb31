"""A table in memory, as records: every one knows its place, and rows that cannot be read are named or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.data.files.json_lines import is_list, object_blocks
from limbeck.data.files.table_files import JSON_SUFFIXES, table_file
from limbeck.errors import DataError

_ROWS = 512  # read at once


class Record(NamedTuple):
    """One row: ``cells`` by column name, and ``place`` (``line 7 of train.tsv``) for messages."""

    cells: dict[str, Any]
    place: str


@dataclass(frozen=True)
class Table:
    """What a file holds; ``bad`` are the places that could not be read, and why.

    ``typed``: the cells have types; those of a CSV are texts.
    """

    columns: tuple[str, ...]
    records: list[Record]
    bad: dict[str, str]
    source: str
    typed: bool = True


def read_table(path: Path, *, header: Sequence[str] | None = None) -> Table:
    """The rows of one file (see :func:`~limbeck.data.files.table_files.table_file`).

    Args:
        header: column names of a ``.tsv`` or ``.csv`` that has no header line.

    Returns: a table; rows with too few or too many cells, or that are no JSON object, are in ``bad``.
    Raises: DataError, naming the file, when it is missing, of another kind, empty or not UTF-8.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in JSON_SUFFIXES and path.is_file():  # in one pass
        return _json_table(path)
    table = table_file(path, header=header)
    records: list[Record] = []
    bad: dict[str, str] = {}
    of = f" of {path.name}"
    for chunk in table.chunks(table.columns, _ROWS):
        bad |= {f"{table.unit} {place}{of}": reason for place, reason in chunk.bad.items()}
        records += [
            Record(cells, f"{table.unit} {place}{of}") for place, cells in zip(chunk.places, chunk.records())
        ]
    if not records and not bad:
        raise DataError(f"{path} holds no rows{' below its header' * (not table.typed)}; check the file.")
    return Table(table.columns, records, bad, str(path), table.typed)


def _json_table(path: Path) -> Table:
    unit, of = "row" if is_list(path) else "line", f" of {path.name}"
    records: list[Record] = []
    names: dict[str, None] = {}
    bad: dict[str, str] = {}
    for block in object_blocks(path, _ROWS):
        names.update((name, None) for found in dict.fromkeys(map(tuple, block.found)) for name in found)
        bad |= {f"{unit} {place}{of}": reason for place, reason in block.bad.items()}
        records += [Record(cells, f"{unit} {place}{of}") for place, cells in zip(block.places, block.found)]
    if not records and not bad:
        raise DataError(f"{path} holds no rows; check the file.")
    return Table(tuple(names), records, bad, str(path))


def table_of(columns: dict[str, Sequence[Any]], source: str) -> Table:
    """A table from columns in memory; the first row is row 0 of ``source``."""
    n = len(next(iter(columns.values()), ()))
    records = [
        Record({name: values[row] for name, values in columns.items()}, f"row {row} of {source}")
        for row in range(n)
    ]
    return Table(tuple(columns), records, {}, source)


def refuse_bad(
    bad: dict[str, str],
    n_rows: int,
    source: str,
    on_error: str,
    *,
    mend: str = "mend them",
    may_skip: bool = True,
) -> None:
    """Raises DataError naming the first bad rows, unless ``on_error`` is ``skip`` and some row is left.

    Args:
        may_skip: the caller has an option to leave them out.
    """
    if not bad or (on_error == "skip" and len(bad) < n_rows):
        return
    reasons = ", ".join(f"{place} {reason}" for place, reason in list(bad.items())[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    skip = "" if on_error == "skip" or not may_skip else ", or pass on_error='skip' to leave them out"
    raise DataError(f"{len(bad)} of {n_rows} rows of {source} cannot be used: {reasons}{more}; {mend}{skip}.")
