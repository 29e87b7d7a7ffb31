"""From raw files to a model's inputs, by settings that are shipped with the student (``preprocessor.json``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import texts
from limbeck.data.files.audio import LogMel, at_rate, read_wave
from limbeck.data.files.images import pixels_of, read_image
from limbeck.data.files.media import path_of, refuse_link, to_picture, to_samples
from limbeck.data.files.records import Record, read_table, refuse_bad
from limbeck.data.files.series import SeriesForm, read_series
from limbeck.data.files.video import read_video
from limbeck.data.files.words import hashed_words
from limbeck.errors import ConfigError, DataError, nearest
from limbeck.signals.cells import is_nothing, number_of, text_of

_SHOWN = 60  # characters of a cell that a message shows


def file_reader(settings: Mapping[str, Any], *, resample: bool = True) -> Callable[[Path], Tensor]:
    """What turns one image or audio file into one row of inputs.

    Args:
        settings: ``{"kind": "image", "height", "width", "channels", "mean", "deviation"}``: pixels of 0 to 1 less
            ``mean`` over ``deviation``, ``[channels, height, width]``; ``{"kind": "video", "frames", ...}`` likewise;
            ``{"kind": "log_mel", ...}`` with the
            settings of :class:`LogMel`; or ``{"kind": "series", "channels", "length", "fits"}`` of
            :class:`~limbeck.data.files.series.SeriesForm`, optionally less ``mean`` over ``deviation`` of a channel.
        resample: convert audio of another rate; otherwise such a file is an error.

    Raises: DataError for another kind, and, when called, for a file that cannot be used.
    """
    kind = settings.get("kind")
    values = {key: value for key, value in settings.items() if key not in ("kind", "input")}
    if kind == "log_mel":
        features = spectrogram(values)
        return lambda path: _log_mel(path, features, resample)
    if kind == "series":
        return lambda path: _series(path, values)
    if kind == "video":
        return lambda path: _video(path, values)
    if kind == "image":
        size, channels = (values["height"], values["width"]), values["channels"]
        return lambda path: (read_image(path, size, channels) - values["mean"]) / values["deviation"]
    raise DataError(f"There is no reader for files of kind {kind!r}; use load_exported() in Python.")


@dataclass(frozen=True)
class MediaReader:
    """What turns one picture, sound or series, in any form (see ``media.py``), into one row of inputs.

    Args:
        settings: as of :func:`file_reader`.    resample: convert sounds of another rate.
    """

    settings: Mapping[str, Any]
    resample: bool = False

    def __call__(self, value: Any) -> Tensor:
        """DataError, one sentence, for what cannot be used."""
        if isinstance(value, Path):
            return file_reader(self.settings, resample=self.resample)(value)
        own = {name: setting for name, setting in self.settings.items() if name not in ("kind", "input")}
        if self.settings["kind"] == "series":
            return _series(value, own)
        if self.settings["kind"] == "image":
            size, channels = (own["height"], own["width"]), own["channels"]
            return (pixels_of(to_picture(value), size, channels) - own["mean"]) / own["deviation"]
        if self.settings["kind"] == "video":
            raise DataError("a video is no path of a file; give the paths of files.")
        features, where = spectrogram(own), path_of(value) or "A sound"
        wave, rate = to_samples(value)
        heard = at_rate(wave, rate or features.rate, features.rate, where, resample=self.resample)
        return _features(heard, features, where)


def spectrogram(settings: LogMel | Mapping[str, Any] | None) -> LogMel:
    """A spectrogram from plain settings; ConfigError names the nearest for one that does not exist."""
    if isinstance(settings, LogMel):
        return settings
    known = [field.name for field in fields(LogMel)]
    for name in settings or {}:
        if name not in known:
            raise ConfigError(f"log_mel has no setting {name!r}; {nearest(name, known)}")
    return LogMel(**(settings or {}))


def _series(value: Any, settings: Mapping[str, Any]) -> Tensor:
    form = SeriesForm(settings["channels"], settings["length"], settings["fits"])
    x = form.of(read_series(value), path_of(value) or "a series")
    if "mean" not in settings:
        return x
    return (x - torch.tensor(settings["mean"])[:, None]) / torch.tensor(settings["deviation"])[:, None]


def _video(path: Path, settings: Mapping[str, Any]) -> Tensor:
    size = (settings["height"], settings["width"])
    pixels = read_video(path, settings["frames"], size, settings["channels"])
    return (pixels - settings["mean"]) / settings["deviation"]


def _log_mel(path: Path, features: LogMel, resample: bool) -> Tensor:
    return _features(read_wave(path, features.rate, resample=resample), features, str(path))


def _features(wave: Tensor, features: LogMel, where: str) -> Tensor:
    try:
        return features(wave)
    except DataError as error:
        raise DataError(f"{where} holds {error}.") from error


def row_numbers(row: Record, columns: Sequence[str], source: str) -> Tensor:
    """The cells of ``columns`` as ``[columns]`` float32; DataError names place and column of what is no finite number.

    Args:
        source: of the table, for messages.
    """
    cells: list[Any] = list(map(row.cells.get, columns))
    try:
        if "_" in ",".join(cells):  # which float() takes
            raise ValueError
        found = torch.tensor(list(map(float, cells)))
    except (TypeError, ValueError, OverflowError):
        found = torch.tensor([_number(row, column, source) for column in columns])
    if not found.isfinite().all():
        column = columns[int((~found.isfinite()).nonzero()[0])]
        raise DataError(
            f"{_place(row, source)} has a number that is not finite in column {column!r}; mend it or remove the line."
        )
    return found


def _place(row: Record, source: str) -> str:
    return f"{row.place.partition(' of ')[0]} of {source}"


def _number(row: Record, column: str, source: str) -> float:
    cell = row.cells.get(column)
    try:
        return number_of(cell)
    except ValueError as error:
        said = repr(cell)
        shown = "nothing" if is_nothing(cell) else said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
        point = " (write decimals with a point)" if re.fullmatch(r"\s*-?\d+,\d+\s*", str(cell)) else ""
        raise DataError(
            f"{_place(row, source)} has {shown} in column {column!r}, where a number is needed{point}; "
            "mend it or remove the line."
        ) from error


def table_reader(settings: Mapping[str, Any]) -> Callable[[Path], tuple[Tensor, list[str]]]:
    """What turns a table into rows ``[rows, columns]``, standardised by ``settings["mean"]`` and ``["deviation"]``, and
    the place of each.

    Raises: DataError, when called, for a table that lacks one of ``settings["columns"]`` or holds what is no number.
    """
    columns = settings["columns"]
    mean, deviation = torch.tensor(settings["mean"]), torch.tensor(settings["deviation"])

    def read(path: Path) -> tuple[Tensor, list[str]]:
        table = read_table(path)
        refuse_bad(table.bad, len(table.records) + len(table.bad), str(path), "error", may_skip=False)
        for column in columns:
            if column not in table.columns:
                raise DataError(f"{path} has no column {column!r}; {nearest(column, table.columns)}")
        rows = [row_numbers(row, columns, str(path)) for row in table.records]
        return (torch.stack(rows) - mean) / deviation, [row.place for row in table.records]

    return read


def several_reader(
    settings: Mapping[str, Any],
) -> Callable[[Path], tuple[dict[str, Tensor], list[str]]]:
    """What turns a table into several inputs, name to ``[rows, ...]``, and the place of each row; files that its cells
    name lie where the table lies.

    Args:
        settings: ``inputs``: name to the settings of that kind of input, with the ``column`` that it is read from.

    Raises: DataError, when called, for a table that lacks a column or has a cell that cannot be used.
    """

    def read(path: Path) -> tuple[dict[str, Tensor], list[str]]:
        table = read_table(path)
        refuse_bad(table.bad, len(table.records) + len(table.bad), str(path), "error", may_skip=False)
        found: dict[str, Tensor] = {}
        for name, own in settings["inputs"].items():
            for column in own["columns"] if own["kind"] == "table" else [own["column"]]:
                if column not in table.columns:
                    raise DataError(f"{path} has no column {column!r}; {nearest(column, table.columns)}")
            found[name] = torch.stack([_one_input(row, own, path) for row in table.records])
        return found, [row.place for row in table.records]

    return read


def _one_input(row: Record, settings: Mapping[str, Any], path: Path) -> Tensor:
    if settings["kind"] == "table":
        numbers = row_numbers(row, settings["columns"], str(path))
        return (numbers - torch.tensor(settings["mean"])) / torch.tensor(settings["deviation"])
    cell = row.cells.get(settings["column"])
    if settings["kind"] == "words":
        return hashed_words(text_of(cell), settings["length"])
    own = {name: value for name, value in settings.items() if name != "column"}
    if isinstance(cell, str):
        if not cell.strip():
            raise DataError(f"{_place(row, str(path))} names no file in column {settings['column']!r}.")
        refuse_link(cell.strip())
        cell = path.parent / Path(cell.strip()).expanduser()
    return MediaReader(own, resample=True)(cell)


def text_reader(
    settings: Mapping[str, Any], class_names: Sequence[str]
) -> Callable[[Path], tuple[dict[str, np.ndarray], list[str]]]:
    """What turns a table of texts into columns of texts (see ``data.base.texts``) and the place of each row.

    Args:
        settings: ``columns``, of ``text``, ``text_pair`` and ``choices``; optionally ``names``, what each is called
            in the file where that differs.
        class_names: of the student: names of the columns, one a choice, where the file has no column of lists.

    Raises: DataError, when called, for a file that cannot be read or lacks a column; the encoding refuses empty texts.
    """
    called = {name: name for name in settings["columns"]} | dict(settings.get("names") or {})

    def read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
        table = read_table(path)
        refuse_bad(table.bad, len(table.records) + len(table.bad), str(path), "error", may_skip=False)
        listed = isinstance(called.get("choices"), str) and called["choices"] in table.columns
        found: dict[str, np.ndarray] = {}
        for column in settings["columns"]:
            several = column == "choices" and not listed
            own = called[column] if not isinstance(called[column], str) else class_names
            for name in own if several else [called[column]]:
                if name not in table.columns:
                    raise DataError(f"{path} has no column {name!r}; {nearest(name, table.columns)}")
            found[column] = texts(
                [
                    [text_of(row.cells.get(name)) for name in own] if several else _cell(row, called[column])
                    for row in table.records
                ]
            )
        return found, [row.place for row in table.records]

    return read


def _cell(row: Record, name: str) -> Any:
    """One text, or a list of choices."""
    cell = row.cells.get(name)
    return [text_of(text) for text in cell] if isinstance(cell, list | tuple) else text_of(cell)
