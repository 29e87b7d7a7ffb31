"""From raw files to a model's inputs, by settings that are shipped with the student (``preprocessor.json``)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.audio import LogMel, read_wave
from limbeck.data.images import read_image
from limbeck.errors import ConfigError, DataError, nearest

Record = dict[str, str | None]  # column name to cell, None where the line is short


def file_reader(settings: Mapping[str, Any], *, resample: bool = True) -> Callable[[Path], Tensor]:
    """What turns one image or audio file into one row of inputs.

    Args:
        settings: ``{"kind": "image", "height", "width", "channels", "mean", "deviation"}``: pixels of 0 to 1 less
            ``mean`` over ``deviation``, ``[channels, height, width]``; or ``{"kind": "log_mel", ...}`` with the
            settings of :class:`LogMel`.
        resample: convert audio of another rate; otherwise such a file is an error.

    Raises: DataError for another kind, and, when called, for a file that cannot be used.
    """
    kind = settings.get("kind")
    values = {key: value for key, value in settings.items() if key not in ("kind", "input")}
    if kind == "log_mel":
        features = spectrogram(values)
        return lambda path: _log_mel(path, features, resample)
    if kind == "image":
        size, channels = (values["height"], values["width"]), values["channels"]
        return lambda path: (read_image(path, size, channels) - values["mean"]) / values["deviation"]
    raise DataError(f"There is no reader for files of kind {kind!r}; use load_exported() in Python.")


def spectrogram(settings: LogMel | Mapping[str, Any] | None) -> LogMel:
    """A spectrogram from plain settings; ConfigError names the nearest for one that does not exist."""
    if isinstance(settings, LogMel):
        return settings
    known = [field.name for field in fields(LogMel)]
    for name in settings or {}:
        if name not in known:
            raise ConfigError(f"log_mel has no setting {name!r}; {nearest(name, known)}")
    return LogMel(**(settings or {}))


def _log_mel(path: Path, features: LogMel, resample: bool) -> Tensor:
    wave = read_wave(path, features.rate, resample=resample)
    try:
        return features(wave)
    except DataError as error:
        raise DataError(f"{path} holds {error}.") from error


def read_csv(table: Path) -> tuple[list[str], list[Record]]:
    """Header and lines of a CSV in UTF-8.

    Raises: DataError when it cannot be read or holds no line below its header.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            header, records = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{table} cannot be read as a CSV in UTF-8 ({error}); save it anew.") from error
    if not records:
        raise DataError(f"{table} holds no rows below its header; check the file.")
    return header, records


def numbers(table: Path, line: int, record: Mapping[str, str | None], columns: Sequence[str]) -> Tensor:
    """The cells of ``columns`` as ``[columns]`` float32; DataError names the line for what is no finite number."""
    values = []
    for column in columns:
        cell = record.get(column)
        try:
            values.append(float(cell or ""))
        except ValueError:
            raise DataError(
                f"line {line} of {table} has {cell!r} in column {column!r}; a number is needed."
            ) from None
    row = torch.tensor(values)
    if not row.isfinite().all():
        raise DataError(
            f"line {line} of {table} holds a number that is not finite; mend it or remove the line."
        )
    return row


def table_reader(settings: Mapping[str, Any]) -> Callable[[Path], Tensor]:
    """What turns a CSV into rows ``[lines, columns]``, standardised by ``settings["mean"]`` and ``["deviation"]``.

    Raises: DataError, when called, for a CSV that lacks one of ``settings["columns"]`` or holds what is no number.
    """
    columns = settings["columns"]
    mean, deviation = torch.tensor(settings["mean"]), torch.tensor(settings["deviation"])

    def read(path: Path) -> Tensor:
        header, records = read_csv(path)
        for column in columns:
            if column not in header:
                raise DataError(f"{path} has no column {column!r}; {nearest(column, header)}")
        rows = [numbers(path, line, record, columns) for line, record in enumerate(records, start=2)]
        return (torch.stack(rows) - mean) / deviation

    return read
