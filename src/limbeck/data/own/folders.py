"""A user's own data: class sub-folders, or a CSV with keys, files and labels, of images, audio or tables."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.data.files.audio import LogMel
from limbeck.data.files.readers import Record, file_reader, numbers, read_csv, spectrogram
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.progress import progress
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key

Modality = Literal["image", "audio", "table"]
UNLABELLED_FOLDER = "unlabelled"


@dataclass(frozen=True)
class FolderData:
    """What was read from a folder or CSV.

    Args:
        examples: the rows that could be read; labels -100 where none is given.
        modality: ``image``, ``audio`` or ``table``.
        groups: key to the bag (session, product, page) it belongs to; empty without a group column.
        report: JSON-able: ``source``, ``read``, ``skipped`` (file to reason), ``rows_by_class``, ``unlabelled``.
        preprocessor: JSON-able: how a raw file becomes a row, as :attr:`Task.preprocessor` has it.
    """

    examples: Examples
    modality: Modality
    groups: dict[Key, str]
    report: dict[str, Any]
    preprocessor: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    key: str
    source: str  # a file name, or a line of the table, for messages
    label: str | None
    group: str | None
    load: Callable[[], Tensor]


def folder(
    path: str | Path,
    modality: Modality,
    *,
    class_names: Sequence[str] | None = None,
    key: str = "key",
    file: str = "file",
    label: str = "label",
    group: str = "group",
    size: tuple[int, int] = (28, 28),
    channels: int = 1,
    log_mel: LogMel | Mapping[str, Any] | None = None,
    resample: bool = False,
    on_error: Literal["error", "skip"] = "error",
) -> FolderData:
    """The examples of one modality in a folder, or in a CSV.

    A folder has one sub-folder per class, whose name is the class name (files in ``unlabelled`` have none); the key
    of a row is its path in the folder without the suffix, ``cat/001``. A folder with one ``.csv`` in it, or the path
    of a ``.csv``, is read by its columns; an empty label means unlabelled, files are relative to the CSV, and without
    a key column the file's path without the suffix is the key. In a table every other column is a number.

    Args:
        path: the folder or CSV.
        modality: ``image``: ``[channels, *size]``, -1 to 1. ``audio``: log-mel ``[1, bands, frames]``. ``table``:
            ``[columns]``, as they are.
        class_names: the names in the order of their numbers; sorted names by default. Others are then errors.
        key, file, label, group: column names of the CSV; group is optional.
        size, channels: of images; 1 = grey, 3 = colour.
        log_mel: the spectrogram of audio and the rate it expects, or its settings; :class:`LogMel` of 8 kHz by default.
        resample: convert audio of another rate; otherwise such a file is an error.
        on_error: ``skip`` leaves out what is unreadable, empty, too short, of a wrong rate or corrupt, and names it
            in the report; ``error`` raises.

    Raises: DataError, one sentence with the file names; UnknownNameError for a modality or column.
    """
    if modality not in get_args(Modality):
        raise UnknownNameError(f"There is no modality {modality!r}; {nearest(modality, get_args(Modality))}")
    if on_error not in ("error", "skip"):
        raise ConfigError(f"on_error={on_error!r} is not known; valid ones: error, skip.")
    if channels not in (1, 3):
        raise ConfigError(f"channels={channels} is not possible: 1 is grey, 3 is colour.")
    path = Path(path).expanduser()
    columns = {"key": key, "file": file, "label": label, "group": group}
    settings = _preprocessor(modality, size, channels, log_mel)
    table = _csv_of(path)
    if modality == "table":
        if table is None:
            raise DataError(
                f"{path} holds no CSV; a table is one .csv with a label column and columns of numbers."
            )
        rows, settings["columns"] = _table_rows(table, columns)
    else:
        read = file_reader(settings, resample=resample)
        rows = _class_folder_rows(path, read) if table is None else _listed_rows(table, columns, read)
    names = _class_names(rows, class_names, path)
    examples, groups, report = _load(rows, names, path, on_error)
    return FolderData(examples, modality, groups, report, settings)


def _preprocessor(
    modality: str, size: tuple[int, int], channels: int, log_mel: LogMel | Mapping[str, Any] | None
) -> dict[str, Any]:
    """The settings of :mod:`limbeck.data.files.readers` for a modality."""
    if modality == "image":
        height, width = size
        shape = {"height": height, "width": width, "channels": channels}
        return {"kind": "image", **shape, "mean": 0.5, "deviation": 0.5}
    if modality == "audio":
        return {"kind": "log_mel", **asdict(spectrogram(log_mel))}
    return {"kind": "table"}


# -- which rows there are --------------------------------------------------------------------------------------


def _csv_of(path: Path) -> Path | None:
    """The CSV that describes ``path``, None for class sub-folders."""
    if path.is_file() and path.suffix.lower() == ".csv":
        return path
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a .csv file; check the path.")
    tables = sorted(entry for entry in path.iterdir() if entry.suffix.lower() == ".csv")
    if len(tables) > 1:
        names = some(table.name for table in tables)
        raise DataError(f"{path} holds several CSV files ({names}); give the path of the right one.")
    return tables[0] if tables else None


def _class_folder_rows(path: Path, read: Callable[[Path], Tensor]) -> list[_Row]:
    classes = sorted(e for e in path.iterdir() if e.is_dir() and not e.name.startswith("."))
    if not classes:
        raise DataError(f"{path} holds no class sub-folders and no CSV; make one sub-folder per class.")
    rows = []
    for folder_of_class in classes:
        files = (f for f in folder_of_class.rglob("*") if f.is_file() and not f.name.startswith("."))
        label = None if folder_of_class.name == UNLABELLED_FOLDER else folder_of_class.name
        for found in sorted(files):
            name = found.relative_to(path)
            rows.append(
                _Row(
                    name.with_suffix("").as_posix(),
                    name.as_posix(),
                    label,
                    None,
                    functools.partial(read, found),
                )
            )
    if not rows:
        raise DataError(
            f"{path} has class sub-folders ({some(c.name for c in classes)}) but no file in them."
        )
    return rows


def _listed_rows(table: Path, columns: dict[str, str], read: Callable[[Path], Tensor]) -> list[_Row]:
    """Files that a CSV lists."""
    header, records = read_csv(table)
    _check_columns(table, header, columns["label"], columns["file"])
    rows = []
    for line, record in enumerate(records, start=2):
        values = _cells(record, columns)
        source = values["file"] or f"line {line}"
        load = functools.partial(_file_of, table, line, values["file"], read)
        key = values["key"] or Path(source).with_suffix("").as_posix()
        rows.append(_Row(key, source, values["label"] or None, values["group"] or None, load))
    return rows


def _table_rows(table: Path, columns: dict[str, str]) -> tuple[list[_Row], list[str]]:
    """Lines of numbers, and the names of their columns."""
    header, records = read_csv(table)
    _check_columns(table, header, columns["label"], columns["key"])
    number_columns = [name for name in header if name not in columns.values()]
    if not number_columns:
        raise DataError(f"{table} has no columns of numbers beside key, label and group.")
    rows = []
    for line, record in enumerate(records, start=2):
        values, source = _cells(record, columns), f"line {line}"
        load = functools.partial(numbers, table, line, record, number_columns)
        rows.append(
            _Row(values["key"] or source, source, values["label"] or None, values["group"] or None, load)
        )
    return rows, number_columns


def _check_columns(table: Path, header: list[str], *needed: str) -> None:
    for name in needed:
        if name not in header:
            raise UnknownNameError(f"{table} has no column {name!r}; {nearest(name, header)}")


def _cells(record: Record, columns: dict[str, str]) -> dict[str, str]:
    return {role: (record.get(column) or "").strip() for role, column in columns.items()}


def _file_of(table: Path, line: int, name: str, read: Callable[[Path], Tensor]) -> Tensor:
    if not name:
        raise DataError(f"line {line} of {table} names no file; fill it in or remove the line.")
    return read(table.parent / name)


def _class_names(rows: list[_Row], given: Sequence[str] | None, path: Path) -> tuple[str, ...]:
    found = {row.label: row.source for row in reversed(rows) if row.label is not None}
    if given is None:
        if len(found) < 2:
            raise DataError(
                f"{path} holds {'only one class' if found else 'no labels'}; at least two classes are needed."
            )
        return tuple(sorted(found))
    if len(set(given)) != len(given) or len(given) < 2:
        raise ConfigError(f"class_names={list(given)} must be at least two different names.")
    for label, source in sorted(found.items()):
        if label not in given:
            raise DataError(
                f"{path}: {source} has the label {label!r}, no class name; {nearest(label, given)}"
            )
    return tuple(given)


# -- reading them ----------------------------------------------------------------------------------------------


def _load(
    rows: list[_Row], class_names: tuple[str, ...], path: Path, on_error: str
) -> tuple[Examples, dict[Key, str], dict[str, Any]]:
    """The examples, the group of each key that has one, and the report."""
    repeated = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{path} has keys that occur more than once: {some(repeated)}; make them unique.")
    kept: list[_Row] = []
    tensors: list[Tensor] = []
    problems: dict[str, str] = {}
    with progress(f"Reading {path.name}", len(rows), "files") as advance:
        for row in rows:
            try:
                tensors.append(row.load())
                kept.append(row)
            except DataError as error:
                problems[row.source] = str(error)
            advance(1)
    if problems and (on_error == "error" or not kept):
        raise DataError(_refusal(problems, len(rows), path, on_error))
    number = {name: c for c, name in enumerate(class_names)}
    labels = torch.tensor([UNLABELLED if row.label is None else number[row.label] for row in kept])
    examples = Examples.classified(
        {"x": torch.stack(tensors)}, tuple(row.key for row in kept), labels, class_names
    )
    report = {
        "source": str(path),
        "read": len(kept),
        "skipped": problems,
        "rows_by_class": {name: int((labels == c).sum()) for name, c in number.items()},
        "unlabelled": int((labels == UNLABELLED).sum()),
    }
    groups: dict[Key, str] = {row.key: row.group for row in kept if row.group is not None}
    return examples, groups, report


def _refusal(problems: dict[str, str], n_rows: int, path: Path, on_error: str) -> str:
    """One sentence on all files that cannot be used; the first reasons in full, without their own mends."""
    reasons = [reason.partition(";")[0].rstrip(".") for reason in list(problems.values())[:3]]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    mend = "mend them" if on_error == "skip" else "mend them, or pass on_error='skip' to leave them out"
    if any("samples a second" in reason for reason in problems.values()):
        mend += ", or resample=True for those of another rate"
    return f"{len(problems)} of {n_rows} rows of {path} cannot be used: {', '.join(reasons)}{more}; {mend}."
