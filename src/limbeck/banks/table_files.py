"""Tables in chunks, in bounded memory: CSV, Parquet, folders of Parquet, and ``datasets``."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from limbeck.errors import DataError, some

if TYPE_CHECKING:
    import pyarrow as pa

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Chunk(NamedTuple):
    """Some rows: their places in the table, and column name to an Arrow array (of a CSV: of strings)."""

    places: Sequence[int]
    columns: dict[str, pa.Array]


@dataclass(frozen=True)
class TableFile:
    """A table that can be read again and again.

    Args:
        name: for messages.    columns: its column names.
        unit: what the places of a chunk count: ``line`` (of a CSV, from 1 with the header) or ``row`` (from 0).
        chunks: ``chunks(columns, n)`` yields the rows in order, at most ``n`` at a time, with these columns.
    """

    name: str
    columns: tuple[str, ...]
    unit: str
    chunks: Callable[[Sequence[str], int], Iterator[Chunk]]


def table_file(source: Any) -> TableFile:
    """The table behind a path (``.csv``, ``.tsv``, ``.parquet``, a folder of Parquet files, or one that
    ``Dataset.save_to_disk`` wrote) or a ``datasets.Dataset``.

    Raises: DataError for anything else, and for a file that cannot be read.
    """
    if not isinstance(source, (str, Path)):
        return _dataset(source, "the data set")
    path = Path(source)
    if path.suffix in _DELIMITERS and path.is_file():
        return _csv(path, _DELIMITERS[path.suffix])
    if path.suffix == ".parquet" and path.is_file():
        return _parquet(str(path), [path])
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        return _dataset(datasets.load_from_disk(str(path)), str(path))
    if path.is_dir() and (parts := sorted(path.glob("*.parquet"))):
        return _parquet(str(path), parts)
    if not path.exists():
        raise DataError(f"There is no file {path}.")
    raise DataError(
        f"{path} is no .csv, .tsv, .parquet, nor a folder that holds a data set; convert it first."
    )


def _csv(path: Path, delimiter: str) -> TableFile:
    def lines() -> Iterator[tuple[int, list[str]]]:
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, delimiter=delimiter)
                for cells in reader:
                    if cells:  # not for an empty line
                        yield reader.line_num, cells
        except (UnicodeDecodeError, csv.Error, OSError) as error:
            raise DataError(f"{path} cannot be read as a table in UTF-8 ({error}); save it anew.") from error

    _, header = next(lines(), (0, []))
    if twice := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice; name its columns differently.")

    def chunks(columns: Sequence[str], n: int) -> Iterator[Chunk]:
        body = lines()
        next(body, None)
        places: list[int] = []
        rows: list[list[str]] = []
        at = [header.index(name) for name in columns]
        for place, cells in body:
            if len(cells) != len(header):
                raise DataError(
                    f"line {place} of {path} has {len(cells)} cells, the header {len(header)}; mend it."
                )
            places.append(place)
            rows.append([cells[i] for i in at])
            if len(rows) == n:
                yield _texts(places, rows, columns)
                places, rows = [], []
        if rows:
            yield _texts(places, rows, columns)

    return TableFile(str(path), tuple(header), "line", chunks)


def _texts(places: list[int], rows: list[list[str]], columns: Sequence[str]) -> Chunk:
    import pyarrow as pa

    return Chunk(places, {name: pa.array(cells, pa.string()) for name, cells in zip(columns, zip(*rows))})


def _parquet(name: str, parts: Sequence[Path]) -> TableFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = [tuple(pq.read_schema(part).names) for part in parts]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
    if other := [part for part, found in zip(parts, columns) if set(found) != set(columns[0])]:
        raise DataError(f"{other[0]} has other columns than {parts[0]}; keep them apart.")

    def chunks(wanted: Sequence[str], n: int) -> Iterator[Chunk]:
        start = 0
        for part in parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(batch_size=n, columns=list(wanted)):
                    found = {column: batch.column(column) for column in wanted}
                    yield Chunk(range(start, start + batch.num_rows), found)
                    start += batch.num_rows

    return TableFile(name, columns[0], "row", chunks)


def _dataset(source: Any, name: str) -> TableFile:
    if isinstance(source, dict):  # a DatasetDict
        raise DataError(f"{name} holds several splits ({some(source)}); give one of them.")
    if (
        not hasattr(source, "select_columns")
        or not hasattr(source, "with_format")
        or not hasattr(source, "num_rows")
    ):
        raise DataError(f"A table is a path or a datasets.Dataset, not {type(source).__name__}.")

    def chunks(wanted: Sequence[str], n: int) -> Iterator[Chunk]:
        start = 0
        for table in source.select_columns(list(wanted)).with_format("arrow").iter(batch_size=n):
            columns = {column: _one_array(table.column(column)) for column in wanted}
            yield Chunk(range(start, start + table.num_rows), columns)
            start += table.num_rows

    return TableFile(name, tuple(source.column_names), "row", chunks)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
