"""Tables of texts as records: TSV, CSV, JSON Lines, Parquet, or a data set of the hub. Every record knows its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import DataError

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Record:
    """One row: ``cells`` by column name, and ``place`` (``line 7 of train.tsv``) for messages."""

    cells: dict[str, Any]
    place: str


@dataclass(frozen=True)
class Table:
    """What a file holds; ``bad`` are the places that could not be read, and why."""

    columns: tuple[str, ...]
    records: list[Record]
    bad: dict[str, str]
    source: str


def read_table(path: Path, *, header: Sequence[str] | None = None) -> Table:
    """The rows of one file, by its suffix.

    A ``.tsv`` is read without quoting, as GLUE's are written (many sentences hold a lone quote, at which a default
    reader would merge rows); a ``.csv`` with it (RFC 4180). ``.jsonl`` and ``.json`` hold one object a line.

    Args:
        header: column names of a ``.tsv`` or ``.csv`` that has no header line.

    Returns: a table; rows with too few or too many cells, or that are no JSON object, are in ``bad``.
    Raises: DataError, naming the file, when it is missing, of another kind, empty or not UTF-8.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path} is no table of texts; give a file that ends in {', '.join(SUFFIXES)}.")
    try:
        if suffix == ".parquet":
            table = _parquet(path)
        elif suffix in (".tsv", ".csv"):
            table = _delimited(path, header, quoted=suffix == ".csv")
        else:
            table = _json_lines(path)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path} cannot be read in UTF-8 ({error}); save it anew.") from error
    if not table.records and not table.bad:
        raise DataError(f"{path} holds no rows; check the file.")
    return table


def table_of(columns: dict[str, Sequence[Any]], source: str) -> Table:
    """A table from columns in memory; the first row is row 0 of ``source``."""
    n = len(next(iter(columns.values()), ()))
    records = [
        Record({name: values[row] for name, values in columns.items()}, f"row {row} of {source}")
        for row in range(n)
    ]
    return Table(tuple(columns), records, {}, source)


def _delimited(path: Path, header: Sequence[str] | None, *, quoted: bool) -> Table:
    options: dict[str, Any] = {} if quoted else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    records, bad = [], {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, **options)
        names = tuple(header or next(reader, ()))
        for cells in reader:
            place = f"line {reader.line_num} of {path.name}"
            if not cells:
                continue
            if len(cells) != len(names):
                bad[place] = f"has {len(cells)} cells for {len(names)} columns"
            else:
                records.append(Record(dict(zip(names, cells)), place))
    return Table(names, records, bad, str(path))


def _json_lines(path: Path) -> Table:
    records, bad = [], {}
    names: dict[str, None] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"line {number} of {path.name}"
            try:
                cells = json.loads(line)
            except json.JSONDecodeError as error:
                bad[place] = f"is no JSON ({error.msg})"
                continue
            if not isinstance(cells, dict):
                bad[place] = "is no JSON object"
                continue
            names |= dict.fromkeys(cells)
            records.append(Record(cells, place))
    return Table(tuple(names), records, bad, str(path))


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path).to_pydict()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}); save it anew.") from error
    return table_of(columns, path.name)


def refuse_bad(
    bad: dict[str, str], n_rows: int, source: str, on_error: str, *, mend: str = "mend them"
) -> None:
    """Raises DataError naming the first bad rows, unless ``on_error`` is ``skip`` and some row is left."""
    if not bad or (on_error == "skip" and len(bad) < n_rows):
        return
    reasons = ", ".join(f"{place} {reason}" for place, reason in list(bad.items())[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    skip = "" if on_error == "skip" else ", or pass on_error='skip' to leave them out"
    raise DataError(f"{len(bad)} of {n_rows} rows of {source} cannot be used: {reasons}{more}; {mend}{skip}.")
