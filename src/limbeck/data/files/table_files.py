"""The one reader of tables: CSV, TSV, JSON Lines, Parquet, folders of Parquet, ``datasets`` and frames, in chunks.

Memory does not grow with the rows. Types are those that the table itself states (Parquet, JSON); cells of a CSV are
texts as they stand (see :mod:`limbeck.signals.cells`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.data.files.contents import what_it_is
from limbeck.data.files.delimited import header_and_dialect, row_blocks
from limbeck.data.files.json_lines import is_list, object_blocks
from limbeck.data.files.unfolding import check_unfolds
from limbeck.errors import DataError, first_line, some

if TYPE_CHECKING:
    import pyarrow as pa

JSON_SUFFIXES = (".jsonl", ".json")
SUFFIXES = (".csv", ".tsv", *JSON_SUFFIXES, ".parquet")
_ROWS = 1024  # read at once
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True)
class Chunk:
    """Some rows.

    Args:
        places: of the rows in the table.
        columns: their names, as asked for.
        content: lists of texts (CSV), with the place of each column in ``at``; objects (JSON); or Arrow arrays.
        bad: places of rows between them that cannot be read, and why.
    """

    places: Sequence[int]
    columns: tuple[str, ...]
    content: Any
    bad: dict[int, str] = field(default_factory=dict)
    at: Sequence[int] | None = None

    def column(self, name: str) -> Any:
        """The cells of a column: a list of texts or values, or an Arrow array."""
        if isinstance(self.content, dict):
            return self.content[name]
        if self.at is None:
            return [row.get(name) for row in self.content]
        place = self.at[self.columns.index(name)]
        return [row[place] for row in self.content]

    def values(self, name: str) -> list[Any]:
        """The cells of a column as plain values."""
        column = self.column(name)
        return column if isinstance(column, list) else _plain_values(column)

    def records(self) -> Iterator[dict[str, Any]]:
        """Each row as cells by column."""
        names = self.columns
        if isinstance(self.content, dict):
            columns = [_plain_values(column) for column in self.content.values()]
            return (dict(zip(names, row)) for row in zip(*columns))
        if self.at is None:
            return ({name: row.get(name) for name in names} for row in self.content)
        if not self.content or list(self.at) == list(range(len(self.content[0]))):
            return (dict(zip(names, row)) for row in self.content)
        return ({name: row[place] for name, place in zip(names, self.at)} for row in self.content)


@dataclass(frozen=True)
class TableFile:
    """A table that can be read again and again.

    Args:
        name: for messages.    columns: its column names.
        unit: what the places of a chunk count: ``line`` (from 1 with the header; of a row over several lines, the
            first) or ``row`` (from 0).
        typed: its cells have types; those of a CSV are texts.
        chunks: ``chunks(columns, n)`` yields the rows in order, at most ``n`` at a time, with these columns.
        class_names: column to the names behind its numbers, where the table states them (``ClassLabel``).
        kept: the rows of some columns, where the file had to be read for its column names.
    """

    name: str
    columns: tuple[str, ...]
    unit: str
    typed: bool
    chunks: Callable[[Sequence[str], int], Iterator[Chunk]]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: Sequence[Chunk] = ()

    def rows(self, columns: Sequence[str], n: int) -> Iterator[Chunk]:
        """As ``chunks``; DataError names the first row that cannot be read."""
        is_kept = self.kept and set(columns) <= set(self.kept[0].columns)
        for chunk in self.kept if is_kept else self.chunks(columns, n):
            for place, reason in chunk.bad.items():
                raise DataError(f"{self.unit} {place} of {self.name} {reason}; mend it or remove it.")
            if chunk.places:
                yield chunk


def table_file(source: Any, *, header: Sequence[str] | None = None, keep: Sequence[str] = ()) -> TableFile:
    """The table behind a path (suffixes in any case: ``.csv``, ``.tsv``, ``.jsonl``, ``.json``, ``.parquet``; a folder
    of Parquet files, or one that ``Dataset.save_to_disk`` wrote), or behind a ``datasets.Dataset``, an Arrow table or a
    frame of pandas or polars.

    Args:
        header: column names of a CSV or TSV that has no header line.
        keep: columns that are read in any case (keys and labels): kept in memory where that saves a pass.

    Raises: DataError for anything else, and for a file that cannot be read.
    """
    if not isinstance(source, (str, Path)):
        return _in_memory(source)
    path = Path(source).expanduser()
    suffix = path.suffix.lower()
    if path.is_file():
        if suffix in (".csv", ".tsv"):
            return _delimited(path, header)
        if suffix in JSON_SUFFIXES:
            return _json(path, tuple(keep))
        if suffix == ".parquet":
            return _parquet(str(path), [path])
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        return _dataset(datasets.load_from_disk(str(path)), str(path))
    if path.is_dir() and (
        parts := sorted(part for part in path.glob("*.parquet") if part.name[0] not in "._")
    ):
        return _parquet(str(path), parts)
    raise _no_table(path)


def _no_table(path: Path) -> DataError:
    if not path.exists():
        return DataError(f"{path} does not exist: there is no file of this name; check the path.")
    if path.suffix.lower() in _PACKED:
        return DataError(f"{path} is compressed; unpack it first.")
    what = ""
    if path.is_file():
        with path.open("rb") as file:
            found = what_it_is(file.read(64))
        what = f" ({found})" if found else ""
    return DataError(
        f"{path} is no table of texts{what}: it is none of {', '.join(SUFFIXES)}, nor a folder that holds a data set; "
        "convert it first."
    )


# ---- text ----------------------------------------------------------------------------------------------------


def _delimited(path: Path, header: Sequence[str] | None) -> TableFile:
    names, dialect = header_and_dialect(path, header)

    def chunks(columns: Sequence[str], n: int) -> Iterator[Chunk]:
        at = [names.index(name) for name in columns]
        for rows in row_blocks(path, dialect, n, len(names), has_header=header is None):
            yield Chunk(rows.places, tuple(columns), rows.cells, rows.bad, at)

    return TableFile(str(path), names, "line", False, chunks)


def _json(path: Path, keep: tuple[str, ...] = ()) -> TableFile:
    """Its column names are those of all objects: an object may lack some, and is then nothing there."""
    names: dict[str, None] = {}
    kept: list[Chunk] = []
    for block in object_blocks(path, _ROWS):
        for found in dict.fromkeys(map(tuple, block.found)):
            names.update(dict.fromkeys(found))
        if keep:
            rows = [{name: row.get(name) for name in keep} for row in block.found]
            kept.append(Chunk(block.places, keep, rows, block.bad))

    def chunks(columns: Sequence[str], n: int) -> Iterator[Chunk]:
        for block in object_blocks(path, n):
            yield Chunk(block.places, tuple(columns), block.found, block.bad)

    unit = "row" if is_list(path) else "line"
    return TableFile(str(path), tuple(names), unit, True, chunks, kept=kept)


# ---- Arrow ---------------------------------------------------------------------------------------------------


def _parquet(name: str, parts: Sequence[Path]) -> TableFile:
    import pyarrow.parquet as pq

    with _reading(name):
        heads = [pq.read_metadata(part) for part in parts]
        for part, head in zip(parts, heads):
            check_unfolds(part, head)
        schemas = [head.schema.to_arrow_schema() for head in heads]
        columns = tuple(schemas[0].names)  # names are only decoded here
    if other := [part for part, schema in zip(parts, schemas) if set(schema.names) != set(columns)]:
        raise DataError(f"{other[0]} has other columns than {parts[0]}; keep them apart.")
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise DataError(f"{name} has the column {twice[0]!r} twice; name its columns differently.")

    def chunks(wanted: Sequence[str], n: int) -> Iterator[Chunk]:
        start = 0
        for part in parts:
            with _reading(str(part)), pq.ParquetFile(part) as file:
                for batch in file.iter_batches(batch_size=n, columns=list(wanted)):
                    found = {column: batch.column(column) for column in wanted}
                    yield Chunk(range(start, start + batch.num_rows), tuple(wanted), found)
                    start += batch.num_rows

    return TableFile(name, columns, "row", True, chunks, _stated_classes(schemas[0]))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Errors of Arrow as a sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # over broken files also others than its own (UnicodeDecodeError)
        reason = first_line(error)
        raise DataError(f"{name} cannot be read as Parquet ({reason}); save it anew.") from error


def _stated_classes(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """The names of ``ClassLabel`` columns, which ``datasets`` keeps in the metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: tuple(kind["names"]) for name, kind in features.items() if kind.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _in_memory(source: Any) -> TableFile:
    import pyarrow as pa

    if hasattr(source, "iloc"):  # a frame of pandas
        try:
            source = pa.Table.from_pandas(source, preserve_index=False)
        except (pa.ArrowException, ValueError, TypeError) as error:
            reason = str(error.args[0] if error.args else error).splitlines()[0].rstrip(".")
            raise DataError(
                f"The frame is no table ({reason}); give each column values of one kind."
            ) from error
    elif hasattr(source, "to_arrow"):  # of polars
        source = source.to_arrow()
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    return _arrow(source) if isinstance(source, pa.Table) else _dataset(source, "the data set")


def _arrow(table: pa.Table) -> TableFile:
    def chunks(wanted: Sequence[str], n: int) -> Iterator[Chunk]:
        for start in range(0, table.num_rows, n):
            part = table.slice(start, n)
            columns = {column: _one_array(part.column(column)) for column in wanted}
            yield Chunk(range(start, start + part.num_rows), tuple(wanted), columns)

    columns = tuple(table.column_names)
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise DataError(f"The table has the column {twice[0]!r} twice; name its columns differently.")
    return TableFile("the table", columns, "row", True, chunks, _stated_classes(table.schema))


def _dataset(source: Any, name: str) -> TableFile:
    if isinstance(source, dict):  # a DatasetDict
        raise DataError(f"{name} holds several splits ({some(source)}); give one of them.")
    if not all(hasattr(source, needed) for needed in ("select_columns", "with_format", "num_rows")):
        raise DataError(f"A table is a path or a datasets.Dataset, not {type(source).__name__}.")

    def chunks(wanted: Sequence[str], n: int) -> Iterator[Chunk]:
        start = 0
        for table in source.select_columns(list(wanted)).with_format("arrow").iter(batch_size=n):
            columns = {column: _one_array(table.column(column)) for column in wanted}
            yield Chunk(range(start, start + table.num_rows), tuple(wanted), columns)
            start += table.num_rows

    names = {column: getattr(kind, "names", None) for column, kind in source.features.items()}
    stated = {column: tuple(found) for column, found in names.items() if found}
    return TableFile(name, tuple(source.column_names), "row", True, chunks, stated)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _plain_values(column: Any) -> list[Any]:
    """The cells of an Arrow array. Raises: DataError for texts that are not UTF-8, and dates beyond the calendar."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(f"A text of the table is not in UTF-8 ({error.reason}); save it anew.") from error
    except (OverflowError, ValueError) as error:
        raise DataError(
            f"A cell of type {column.type} is none that Python knows ({error}), such as a date after the year 9999; "
            "leave its column out or save it as text."
        ) from error
