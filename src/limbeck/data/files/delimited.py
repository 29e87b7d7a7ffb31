"""CSV and TSV as rows of texts, streamed: every cell as it stands, every line that does not fit named."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from limbeck.data.files.lines import check_text, line_ends, text_lines
from limbeck.errors import DataError

# One cell may be as long as this, in characters; a quote that is never closed must not read a file into memory.
LONGEST_CELL = 2**27
_SEPARATORS = (",", ";", "\t", "|")
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_SAMPLE = 20  # lines looked at to find the separator


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


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, blank lines left out.

    Args:
        places: the line on which each row begins.    cells: of each row.
        bad: line to why the row that begins there cannot be used.
    """

    places: Sequence[int]
    cells: list[list[str]]
    bad: dict[int, str]


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
    with text_lines(path, kind) as lines:
        sample = list(islice(lines, _SAMPLE))
    dialect = _dialect(sample, "\t" if path.suffix.lower() == ".tsv" else ",", header)
    if header is not None:
        return tuple(header), dialect
    found = next((rows for rows in _blocks(path, dialect, 1) if rows.cells or rows.bad), Rows([], [], {}))
    for line, reason in found.bad.items():
        raise DataError(f"line {line} of {path}, its header, {reason}; mend it.")
    if not found.cells:
        raise DataError(
            f"{path} is empty: it has no columns and holds no rows below its header; check the file."
        )
    columns = tuple(name.removeprefix("\ufeff").strip() for name in found.cells[0])
    if twice := [name for name in columns if columns.count(name) > 1]:
        what = f"the column {twice[0]!r} twice" if twice[0] else "two columns without a name"
        raise DataError(f"{path} has {what} (line {found.places[0]}); name its columns differently.")
    return columns, dialect


def row_blocks(path: Path, dialect: Dialect, n: int, width: int, *, has_header: bool) -> Iterator[Rows]:
    """The rows below the header in order, about ``n`` at a time; those whose cells are not ``width`` are ``bad``.

    Raises: DataError naming file and line: a quote that is never closed, a cell that is too long, no UTF-8.
    """
    is_first = has_header
    for block in _blocks(path, dialect, n):
        places, cells, bad = block.places, block.cells, block.bad
        if is_first and cells:
            places, cells, is_first = places[1:], cells[1:], False
        if any(len(row) != width for row in cells):
            fits = [len(row) == width for row in cells]
            wrong = {
                line: misfit(row, width, dialect) for line, row, ok in zip(places, cells, fits) if not ok
            }
            bad = dict(sorted((bad | wrong).items()))
            places = [line for line, ok in zip(places, fits) if ok]
            cells = [row for row, ok in zip(cells, fits) if ok]
        if cells or bad:
            yield Rows(places, cells, bad)


def kind_of(path: Path) -> str:
    """What a file is called in messages."""
    return "a TSV" if path.suffix.lower() == ".tsv" else "a CSV"


def misfit(cells: Sequence[str], n: int, dialect: Dialect) -> str:
    """Why a row of ``n`` columns cannot be used: its cells are too many or too few."""
    words = f"has {len(cells)} cell{'s' * (len(cells) != 1)} for {n} column{'s' * (n != 1)}"
    if len(cells) > n and dialect.quoted:
        words += f" (put cells that hold {_NAMES.get(dialect.separator, dialect.separator)} into quotes)"
    return words


def _blocks(path: Path, dialect: Dialect, n: int) -> Iterator[Rows]:
    """All rows, the header included, ``n`` or fewer at a time."""
    with text_lines(path, kind_of(path)) as lines:
        for _ in range(dialect.skipped):
            next(lines, None)
        yield from (_quoted if dialect.quoted else _plain)(path, lines, dialect, n)


def _plain(path: Path, lines: Iterator[str], dialect: Dialect, n: int) -> Iterator[Rows]:
    separator, first = dialect.separator, 1 + dialect.skipped
    while block := list(islice(lines, n)):
        places: Sequence[int] = range(first, first + len(block))
        first += len(block)
        texts = [line.rstrip("\r\n") for line in block]
        if not all(texts):
            places = [line for line, text in zip(places, texts) if text]
            texts = [text for text in texts if text]
        cells = [text.split(separator) for text in texts]
        for at, text in enumerate(texts):
            if '""' in text:
                cells[at] = [_unquoted(cell) for cell in cells[at]]
        yield Rows(places, cells, {})


def _unquoted(cell: str) -> str:
    """A cell that a quoting writer made, which doubles each quote within, as it was; others as they stand."""
    if len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in (within := cell[1:-1]):
        pairs = within.split('""')
        if not any('"' in part for part in pairs):
            return '"'.join(pairs)
    return cell


def _quoted(path: Path, lines: Iterator[str], dialect: Dialect, n: int) -> Iterator[Rows]:
    _allow_long_cells()
    reader = csv.reader(lines, delimiter=dialect.separator, strict=True)
    first = 1 + dialect.skipped  # the line of the next row
    done = False
    while not done:
        cells: list[list[str]] = []
        bad: dict[int, str] = {}
        reason = ""
        try:
            cells.extend(islice(reader, n))  # keeps the rows before an error
            done = not cells
        except csv.Error as error:
            reason = str(error)
        after = 1 + dialect.skipped + reader.line_num
        places = _places(cells, first, None if reason else after)
        if reason:
            begins = places[-1] + _span(cells[-1]) if cells else first
            bad[begins] = _fault(path, reason, begins, after - 1)
        first = after
        if not all(cells):  # blank lines
            places = [line for line, row in zip(places, cells) if row]
            cells = [row for row in cells if row]
        yield Rows(places, cells, bad)


def _places(cells: list[list[str]], first: int, after: int | None) -> Sequence[int]:
    """The line on which each row begins, of rows that go from line ``first`` to before ``after``."""
    if after is not None and after - first == len(cells):
        return range(first, after)  # a line a row
    places = []
    for row in cells:
        places.append(first)
        first += _span(row)
    return places


def _span(row: list[str]) -> int:
    """Lines that a row takes."""
    return 1 + sum(map(line_ends, row))


def _allow_long_cells() -> None:
    """The limit is one of the whole process; its default of 131,072 characters refuses good cells."""
    if csv.field_size_limit() < LONGEST_CELL:
        csv.field_size_limit(LONGEST_CELL)


def _fault(path: Path, reason: str, first: int, last: int) -> str:
    """Words for a row that the reader of quoted cells refuses. Raises DataError where it may have swallowed others."""
    if "expected after" in reason and first == last:
        return 'has text after a closing quote (write a quote within a cell twice: "")'
    if "field limit" in reason or "larger than" in reason:
        why = f"a cell has more than {LONGEST_CELL:,} characters; is its quote never closed?"
    elif "expected after" in reason:
        why = f"a quote that opens there closes within line {last}; close it, or write quotes within a cell twice."
    else:
        why = "a quote that opens there is never closed; close it, or write quotes within a cell twice."
    raise DataError(f"{path} cannot be read from line {first} on: {why}")


def _dialect(sample: list[str], usual: str, header: Sequence[str] | None) -> Dialect:
    """The separator on which header and first row agree: that of the most columns (the usual one before others of as
    many), or none (one column)."""
    if sample and (named := re.fullmatch(r'"?sep=([,;|\t:^~])"?\s*', sample[0], re.IGNORECASE)):
        return Dialect(named[1], quoted=True, skipped=1)
    widths = dict.fromkeys((usual, *_SEPARATORS), 1)
    for separator in widths:
        first, *rest = _cut(sample, separator, quoted=usual != "\t" or separator != usual)
        names = first if header is None else header
        row = next(iter(rest), first) if header is None else first
        if len(row) == len(names):
            widths[separator] = len(names)
    separator = max(widths, key=lambda one: widths[one])
    if separator != "\t" or usual != "\t":
        return Dialect(separator, quoted=True)
    names = next((line.rstrip("\r\n").split("\t") for line in sample if line.strip()), [""])
    in_quotes = all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    return Dialect("\t", quoted=in_quotes and header is None)


def _cut(sample: list[str], separator: str, *, quoted: bool) -> list[list[str]]:
    """The first two rows of a sample."""
    try:
        reader = csv.reader(
            sample, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        )
        return list(islice((cells for cells in reader if cells), 2)) or [[]]
    except csv.Error:  # a cell without end: told where rows are read
        return [[]]
