"""CSV and TSV as rows of texts, streamed: every cell as it stands, every line that does not fit named."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from limbeck.data.files.lines import check_text, text_lines
from limbeck.errors import DataError

# One cell may be as long as this, in characters; a quote that is never closed must not read a file into memory.
LONGEST_CELL = 2**27
_SEPARATORS = (",", ";", "\t", "|")
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_SAMPLE = 20  # lines looked at to find the separator

# The line on which a row begins, and its cells, or a sentence's end on why they cannot be used.
Row = tuple[int, list[str] | str]


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Args:
        separator: one character.    quoted: cells may stand in quotes, with separators and line ends (RFC 4180).
        skipped: lines above the header: Excel's ``sep=;``.
    """

    separator: str
    quoted: bool
    skipped: int = 0


def header_and_dialect(path: Path, header: Sequence[str] | None = None) -> tuple[tuple[str, ...], Dialect]:
    """The column names of a ``.csv`` or ``.tsv``, and how it is written.

    A ``.csv`` is quoted. A ``.tsv`` is not, as GLUE's are written (many sentences hold a lone quote, at which a quoting
    reader would merge rows), unless its header is. A separator other than the suffix says is found where header and
    first row agree on it.

    Args:
        header: names for a file that has no header line.

    Raises: DataError: a file that is empty or no text, a column named twice, a header that cannot be read.
    """
    kind = kind_of(path)
    check_text(path, kind)
    _allow_long_cells()
    sample = list(islice(text_lines(path, kind), _SAMPLE))
    dialect = _dialect(sample, "\t" if path.suffix.lower() == ".tsv" else ",", header)
    if header is not None:
        return tuple(header), dialect
    place, names = next(body(path, dialect, header=True), (1, []))
    if isinstance(names, str):
        raise DataError(f"line {place} of {path}, its header, {names}; mend it.")
    if not names:
        raise DataError(f"{path} is empty: it has no columns and holds no rows below its header; check the file.")
    columns = tuple(name.strip() for name in names)
    if twice := [name for name in columns if columns.count(name) > 1]:
        what = f"the column {twice[0]!r} twice" if twice[0] else "two columns without a name"
        raise DataError(f"{path} has {what} (line {place}); name its columns differently.")
    return columns, dialect


def body(path: Path, dialect: Dialect, *, header: bool = False) -> Iterator[Row]:
    """The rows of a file, blank lines left out; the header comes first where it has one.

    Args:
        header: only the first row is wanted; nothing beyond it is read.

    Raises: DataError naming file and line: a quote that is never closed, a cell that is too long, no UTF-8.
    """
    lines = text_lines(path, kind_of(path))
    for _ in range(dialect.skipped):
        next(lines, None)
    rows = _quoted(path, lines, dialect) if dialect.quoted else _plain(lines, dialect)
    return islice(rows, 1) if header else rows


def kind_of(path: Path) -> str:
    """What a file is called in messages."""
    return "a TSV" if path.suffix.lower() == ".tsv" else "a CSV"


def misfit(cells: Sequence[str], n: int, dialect: Dialect) -> str:
    """Why a row of ``n`` columns cannot be used: its cells are too many or too few."""
    words = f"has {len(cells)} cell{'s' * (len(cells) != 1)} for {n} column{'s' * (n != 1)}"
    if len(cells) > n and dialect.quoted:
        words += f" (put cells that hold {_NAMES.get(dialect.separator, dialect.separator)} into quotes)"
    return words


def _plain(lines: Iterator[str], dialect: Dialect) -> Iterator[Row]:
    separator = dialect.separator
    for place, line in enumerate(lines, start=1 + dialect.skipped):
        text = line.rstrip("\r\n")
        if text:
            cells = text.split(separator)
            yield place, [_unquoted(cell) for cell in cells] if '""' in text else cells


def _unquoted(cell: str) -> str:
    """A cell that a quoting writer made, which doubles each quote within, as it was; others as they stand."""
    if len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in (within := cell[1:-1]):
        pairs = within.split('""')
        if not any('"' in part for part in pairs):
            return '"'.join(pairs)
    return cell


def _quoted(path: Path, lines: Iterator[str], dialect: Dialect) -> Iterator[Row]:
    _allow_long_cells()
    reader = csv.reader(lines, delimiter=dialect.separator, strict=True)
    above = dialect.skipped
    first = above + 1
    while True:
        try:
            for cells in reader:
                if cells:  # not of a blank line
                    yield first, cells
                first = above + reader.line_num + 1
            return
        except csv.Error as error:
            last = above + reader.line_num
            yield first, _fault(path, str(error), first, last)
            first = last + 1


def _allow_long_cells() -> None:
    """The limit is one of the whole process; its default of 131,072 characters refuses good cells."""
    if csv.field_size_limit() < LONGEST_CELL:
        csv.field_size_limit(LONGEST_CELL)


def _fault(path: Path, reason: str, first: int, last: int) -> str:
    """Words for a row that the reader of quoted cells refuses. Raises DataError where it may have swallowed others."""
    if "expected after" in reason and first == last:
        return 'has text after a closing quote (write a quote within a cell twice: "")'
    if "field limit" in reason:
        why = f"a cell has more than {LONGEST_CELL:,} characters; is its quote never closed?"
    elif "expected after" in reason:
        why = f"a quote that opens there closes within line {last}; close it, or write quotes within a cell twice."
    else:
        why = "a quote that opens there is never closed; close it, or write quotes within a cell twice."
    raise DataError(f"{path} cannot be read from line {first} on: {why}")


def _dialect(sample: list[str], usual: str, header: Sequence[str] | None) -> Dialect:
    """The separator on which header and first row agree: the usual one, another, or none (one column)."""
    if sample and (named := re.fullmatch(r'"?sep=([,;|\t:^~])"?\s*', sample[0], re.IGNORECASE)):
        return Dialect(named[1], quoted=True, skipped=1)
    for separator in (usual, *(other for other in _SEPARATORS if other != usual)):
        first, *rest = _cut(sample, separator, quoted=usual != "\t" or separator != usual)
        names = first if header is None else header
        row = next(iter(rest), first) if header is None else first
        if len(names) > 1 and len(row) == len(names):
            break
    else:
        separator = usual
    if separator != "\t" or usual != "\t":
        return Dialect(separator, quoted=True)
    names = next((line.rstrip("\r\n").split("\t") for line in sample if line.strip()), [""])
    in_quotes = all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    return Dialect("\t", quoted=in_quotes and header is None)


def _cut(sample: list[str], separator: str, *, quoted: bool) -> list[list[str]]:
    """The first two rows of a sample."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        reader = csv.reader(sample, delimiter=separator, quoting=quoting)
        return list(islice((cells for cells in reader if cells), 2)) or [[]]
    except csv.Error:  # a cell without end: told where rows are read
        return [[]]
