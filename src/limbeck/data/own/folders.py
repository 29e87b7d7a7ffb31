"""A user's own data: class sub-folders, or a CSV with keys, files and labels, of images, audio or tables."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.data.files.audio import LogMel
from limbeck.data.files.media import refuse_link
from limbeck.data.files.readers import file_reader, row_numbers, spectrogram
from limbeck.data.files.records import Record, Table, read_table
from limbeck.data.files.table_files import SUFFIXES
from limbeck.data.own.sides.class_folders import class_files, is_hidden, key_of_path, one_form
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.progress import progress
from limbeck.signals.cells import classes_of, name_of, text_of
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key

Modality = Literal["image", "audio", "table"]


@dataclass(frozen=True)
class FolderData:
    """What was read from a folder or CSV.

    Args:
        examples: the rows that could be read; labels -100 where none is given.
        modality: ``image``, ``audio`` or ``table``.
        groups: key to the bag (session, product, page) it belongs to; empty without a group column.
        roles: key to ``train``, ``validation`` or ``test``, where the folder is cut into these; empty elsewhere.
        report: JSON-able: ``source``, ``read``, ``skipped`` (file to reason), ``rows_by_class``, ``unlabelled``.
        preprocessor: JSON-able: how a raw file becomes a row, as :attr:`Task.preprocessor` has it.
    """

    examples: Examples
    modality: Modality
    groups: dict[Key, str]
    report: dict[str, Any]
    preprocessor: dict[str, Any] = field(default_factory=dict)
    roles: dict[Key, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Of its inputs, as a preprocessor calls them."""
        return self.preprocessor.get("kind") or {"audio": "log_mel"}.get(self.modality, self.modality)


@dataclass(frozen=True)
class _Row:
    key: str
    source: str  # a file name, or a line of the table, for messages
    label: str | None
    group: str | None
    load: Callable[[], Tensor]
    role: str | None = None


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
    of a row is its path in the folder without the suffix, ``cat/001``. The class folders may lie in ``train``, ``val``
    and ``test``, which are kept as splits. Links are followed; hidden files and folders are left out at any depth. A
    folder with one ``.csv`` in it, or the path of a table (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``), is read by
    its columns; an empty label means unlabelled, files are relative to the table, and without a key column the file's
    path without the suffix is the key. In a table of numbers every other column is a number.

    Args:
        path: the folder or table.
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
    table = _table_of(path)
    if modality == "table":
        if table is None:
            raise DataError(
                f"{path} holds no CSV; a table is one .csv with a label column and columns of numbers."
            )
        rows, bad, settings["columns"] = _table_rows(table, columns)
    else:
        read = file_reader(settings, resample=resample)
        rows, bad = _listed_rows(table, columns, read) if table else (_class_folder_rows(path, read), {})
    if bad and (on_error == "error" or not rows):  # before what such lines leave of the labels is judged
        raise DataError(_refusal(bad, len(rows) + len(bad), path, on_error))
    names = _class_names(rows, class_names, path)
    examples, report, kept = _load(rows, bad, names, path, on_error)
    groups: dict[Key, str] = {row.key: row.group for row in kept if row.group is not None}
    roles: dict[Key, str] = {row.key: row.role for row in kept if row.role is not None}
    return FolderData(examples, modality, groups, report, settings, roles)


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


def _table_of(path: Path) -> Path | None:
    """The table that describes ``path``, None for class sub-folders."""
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return path
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a .csv file; check the path.")
    tables = sorted(e for e in path.iterdir() if e.suffix.lower() == ".csv" and not is_hidden(e.name))
    if len(tables) > 1:
        names = some(table.name for table in tables)
        raise DataError(f"{path} holds several CSV files ({names}); give the path of the right one.")
    return tables[0] if tables else None


def _class_folder_rows(path: Path, read: Callable[[Path], Tensor]) -> list[_Row]:
    return [
        _Row(found.key, found.source, found.label, None, functools.partial(read, found.path), found.role)
        for found in class_files(path)
    ]


def _listed_rows(
    path: Path, columns: dict[str, str], read: Callable[[Path], Tensor]
) -> tuple[list[_Row], dict[str, str]]:
    """Files that a table lists, and the lines that cannot be read."""
    table = read_table(path)
    _check_columns(table, columns["label"], columns["file"])
    rows = []
    for record in table.records:
        names = _cells(record, columns)
        file = text_of(record.cells.get(columns["file"])).strip()
        source = file or record.place.partition(" of ")[0]
        load = functools.partial(_file_of, path, record, file, read)
        key = names["key"] or key_of_path(source)
        rows.append(_Row(key, source, names["label"] or None, names["group"] or None, load))
    return rows, _bad_lines(table)


def _table_rows(path: Path, columns: dict[str, str]) -> tuple[list[_Row], dict[str, str], list[str]]:
    """Lines of numbers, the lines that cannot be read, and the names of the columns of numbers."""
    table = read_table(path)
    _check_columns(table, columns["label"], columns["key"])
    number_columns = [name for name in table.columns if name not in columns.values()]
    if not number_columns:
        raise DataError(f"{path} has no columns of numbers beside key, label and group.")
    rows = []
    for record in table.records:
        names, source = _cells(record, columns), record.place.partition(" of ")[0]
        load = functools.partial(row_numbers, record, number_columns, str(path))
        rows.append(
            _Row(names["key"] or source, source, names["label"] or None, names["group"] or None, load)
        )
    return rows, _bad_lines(table), number_columns


def _bad_lines(table: Table) -> dict[str, str]:
    return {
        place.partition(" of ")[
            0
        ]: f"{place.partition(' of ')[0]} of {table.source} {reason}; mend it or remove it."
        for place, reason in table.bad.items()
    }


def _check_columns(table: Table, *needed: str) -> None:
    for name in needed:
        if name not in table.columns:
            raise UnknownNameError(f"{table.source} has no column {name!r}; {nearest(name, table.columns)}")


def _cells(record: Record, columns: dict[str, str]) -> dict[str, str]:
    return {role: name_of(record.cells.get(column)) for role, column in columns.items()}


def _file_of(table: Path, record: Record, name: str, read: Callable[[Path], Tensor]) -> Tensor:
    if not name:
        line = record.place.partition(" of ")[0]
        raise DataError(f"{line} of {table} names no file; fill it in or remove the line.")
    refuse_link(name)
    path = table.parent / Path(name).expanduser()
    forms = (path.parent / unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))
    return read(next((form for form in (path, *forms) if os.path.isfile(form)), path))


def _class_names(rows: list[_Row], given: Sequence[str] | None, path: Path) -> tuple[str, ...]:
    found = {row.label: row.source for row in reversed(rows) if row.label is not None}
    if given is None:
        if len(found) < 2:
            raise DataError(
                f"{path} holds {'only one class' if found else 'no labels'}; at least two classes are needed."
            )
        return tuple(classes_of(found))
    given = [one_form(name) for name in given]
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
    rows: list[_Row], bad: dict[str, str], class_names: tuple[str, ...], path: Path, on_error: str
) -> tuple[Examples, dict[str, Any], list[_Row]]:
    """The examples, the report, and the rows of the examples.

    Args:
        bad: lines of a table that hold no row, with the reason.
    """
    repeated = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{path} has keys that occur more than once: {some(repeated)}; make them unique.")
    kept: list[_Row] = []
    tensors: list[Tensor] = []
    problems = dict(bad)
    with progress(f"Reading {path.name}", len(rows), "files") as advance:
        for row in rows:
            try:
                tensors.append(row.load())
                kept.append(row)
            except DataError as error:
                problems[row.source] = str(error)
            advance(1)
    if problems and (on_error == "error" or not kept):
        raise DataError(_refusal(problems, len(rows) + len(bad), path, on_error))
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
    return examples, report, kept


def _refusal(problems: dict[str, str], n_rows: int, path: Path, on_error: str) -> str:
    """One sentence on all files that cannot be used; the first reasons in full, without their own mends."""
    reasons = [reason.partition(";")[0].rstrip(".") for reason in list(problems.values())[:3]]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    mend = "mend them" if on_error == "skip" else "mend them, or pass on_error='skip' to leave them out"
    if any("samples a second" in reason for reason in problems.values()):
        mend += ", or resample=True for those of another rate"
    return f"{len(problems)} of {n_rows} rows of {path} cannot be used: {', '.join(reasons)}{more}; {mend}."
