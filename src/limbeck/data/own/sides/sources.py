"""What a source of a user's is: every table, folder and data set as one table that is read in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.data.files.table_files import SUFFIXES, Chunk, TableFile, table_file
from limbeck.data.own.sides.class_folders import (
    ROLE_OF,
    ClassFile,
    class_files,
    files_below,
    is_hidden,
    key_of_path,
    one_form,
    sub_folders,
)
from limbeck.errors import DataError, first_line, some

FILE_COLUMNS = ("file", "path", "stem", "label", "split")  # of a folder of files
HUB = "hf:"


@dataclass(frozen=True)
class Opened:
    """A source.

    Args:
        table: its rows.    name: for messages.
        base: where the paths in its cells count from; None: from where you start.
        is_folder: its rows are the files of a folder, its columns :data:`FILE_COLUMNS`.
        data: the ``datasets.Dataset`` behind the table, whose cells can be read one by one; None for other sources.
    """

    table: TableFile
    name: str
    base: Path | None = None
    is_folder: bool = False
    data: Any = None


def opened(source: Any, *, classes: bool = True) -> Opened:
    """A source by its path, its name on the hub, or itself (see :class:`~limbeck.data.own.sides.side.Side`).

    Args:
        classes: sub-folders of a folder of files are classes.

    Raises: DataError, one sentence, for what does not exist, holds no rows or is none of these.
    """
    if isinstance(source, str) and source.startswith(HUB):
        return _of_data(_from_hub(source.removeprefix(HUB)), source)
    if not isinstance(source, (str, Path)):
        return _of_data(source, "the data set")
    path = existing(source)
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        return _of_data(datasets.load_from_disk(str(path)), str(path))
    if path.is_file():
        return Opened(table_file(path), str(path), path.parent)
    tables = [e for e in sorted(path.iterdir()) if e.suffix.lower() in SUFFIXES and not is_hidden(e.name)]
    if len(tables) > 1 and all(table.suffix.lower() == ".parquet" for table in tables):
        return Opened(table_file(path), str(path), path)
    if len(tables) > 1:
        raise DataError(
            f"{path} holds several tables ({some(t.name for t in tables)}); give the path of one."
        )
    if tables:
        return Opened(table_file(tables[0]), str(tables[0]), path)
    return Opened(_files_table(path, classes), str(path), None, is_folder=True)


def existing(path: str | Path) -> Path:
    """The path, if there is anything; DataError."""
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"{found} does not exist: there is no file or folder of this name; check the path.")
    return found


def with_rows(source: Opened) -> Opened:
    """The source, if it has any columns; DataError."""
    if not source.table.columns:
        raise DataError(f"{source.name} holds no rows; check the file.")
    return source


def _from_hub(name: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name)
    except Exception as error:  # of the hub, the network and some forty builders
        reason = first_line(error)
        raise DataError(
            f"The data set {name!r} cannot be loaded from the hub ({reason}); check its name and the network, or give "
            "a folder that Dataset.save_to_disk wrote."
        ) from error


def _of_data(data: Any, name: str) -> Opened:
    if isinstance(data, Mapping) and any(hasattr(part, "column_names") for part in data.values()):
        data = _joined(data, name)
    is_data = hasattr(data, "cast_column") and hasattr(data, "num_rows")
    return Opened(table_file(data), name, data=data if is_data else None)


def _joined(parts: Mapping[str, Any], name: str) -> Any:
    """The splits of a ``DatasetDict`` as one data set with a column ``split``."""
    import datasets

    known = {split: part for split, part in parts.items() if split.lower() in ROLE_OF}
    if "train" not in {ROLE_OF[split.lower()] for split in known}:
        raise DataError(
            f"{name} holds the splits {some(parts)}, none of them for training; give one of them."
        )
    marked = [
        part if "split" in part.column_names else part.add_column("split", [split] * len(part))
        for split, part in known.items()
    ]
    return datasets.concatenate_datasets(marked)


# ---- folders of files ------------------------------------------------------------------------------------------


def _files_table(folder: Path, classes: bool) -> TableFile:
    found = class_files(folder) if classes and sub_folders(folder) else _plain_files(folder)
    rows = [
        {
            "file": str(file.path),
            "path": file.key,
            "stem": Path(file.key).name,
            "label": file.label or "",
            "split": file.role or "",
        }
        for file in found
    ]
    sources = [file.source for file in found]

    def chunks(columns: Sequence[str], n: int) -> Iterator[Chunk]:
        for start in range(0, len(rows), n):
            part = rows[start : start + n]
            yield Chunk(range(start, start + len(part)), tuple(columns), part)

    return _FilesTable(str(folder), FILE_COLUMNS, "file", False, chunks, sources=sources)


@dataclass(frozen=True)
class _FilesTable(TableFile):
    """A folder's files as a table; ``sources`` are their paths in it, for messages."""

    sources: Sequence[str] = ()


def _plain_files(folder: Path) -> list[ClassFile]:
    found = [
        ClassFile(path, key_of_path(source), source, None, None)
        for path in files_below(folder)
        if (source := one_form(path.relative_to(folder).as_posix()))
    ]
    if not found:
        raise DataError(f"{folder} holds no files; check the path.")
    return found


def place_of(table: TableFile, place: int) -> str:
    """A row in words: ``line 7``, ``row 3``, or the file's path."""
    return table.sources[place] if isinstance(table, _FilesTable) else f"{table.unit} {place}"
