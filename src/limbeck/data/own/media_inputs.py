"""From the cells of a user's table, or the files of a folder, to pictures, sounds and series."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.base import Table
from limbeck.data.files.contents import first_bytes
from limbeck.data.files.media import refuse_link
from limbeck.data.files.readers import MediaReader, spectrogram
from limbeck.data.files.series import read_series
from limbeck.data.files.table_files import Chunk
from limbeck.data.own.inputs import Bad, Numbers, Reading, Texts
from limbeck.data.own.several import Several, Words
from limbeck.data.own.sides.columns import check_column, media_column, number_columns, text_columns
from limbeck.data.own.sides.side import WORDS, Side
from limbeck.data.own.sides.sources import Opened
from limbeck.data.own.stored import IN_MEMORY, DataColumn, MediaTable
from limbeck.errors import DataError
from limbeck.progress import progress


def reading_of(side: Side, source: Opened, taken: Sequence[str], where: str) -> Reading | None:
    """How the rows of a side are read; None where they are keys only.

    Args:
        taken: columns that are keys, labels, groups or splits.    where: ``student``, for messages.

    Raises: UnknownNameError for a column that is not there; DataError, ConfigError.
    """
    if side.inputs is not None:
        return Several(
            {
                name: _one_of_several(part, source, f"{where}.inputs.{name}")
                for name, part in side.inputs.items()
            }
        )
    if side.modality is None:
        return None
    if side.modality == "text":
        return Texts(text_columns(side.input, source, where), side.in_memory)
    if side.modality == "table":
        return Numbers(number_columns(side.input, source, taken, where), source.name, side.in_memory)
    return Media(side, source, media_column(side, source, where))


def _one_of_several(part: Side, source: Opened, where: str) -> Reading:
    """One input; a text is read as words, which need no tokenizer."""
    if part.modality == "text":
        return Words(check_column(part.input, f"{where}.input", source), part.length or WORDS)
    found = reading_of(part, source, (), where)
    assert found is not None
    return found


class Media:
    """Pictures, sounds or series: files that a column names, or what it holds. They are opened once before the
    training; where their tensors do not fit in memory only their first bytes are looked at, and a row is read when a
    step asks."""

    def __init__(self, side: Side, source: Opened, column: str) -> None:
        self._side, self._source, self.column = side, source, column
        self._values: list[Any] = []
        self._rows: list[int] = []
        self._from_data = source.data is not None and not _is_text(source.data, column)
        self.columns = [] if self._from_data else [column]

    def take(self, chunk: Chunk) -> tuple[list[Any], Bad]:
        if self._from_data:
            return list(chunk.places), {}
        values: list[Any] = []
        bad: Bad = {}
        for row, cell in enumerate(chunk.values(self.column)):
            try:
                values.append(self._file(cell) if isinstance(cell, str) else cell)
                if values[-1] is None:
                    raise DataError(f"has no {self._side.modality} in column {self.column!r}")
            except DataError as error:
                values[row:] = [None]
                bad[row] = str(error).rstrip(".")
        return values, bad

    def _file(self, cell: str) -> Path:
        name = cell if self._source.is_folder else cell.strip()
        if not name:
            raise DataError(f"names no file in column {self.column!r}")
        refuse_link(name)
        path = (self._source.base or Path()) / Path(name).expanduser()
        forms = (path.parent / unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))
        return next((form for form in (path, *forms) if os.path.isfile(form)), path)

    def keep(self, values: Sequence[Any], places: Sequence[int]) -> None:
        self._values.extend(values)

    def finish(self) -> tuple[Mapping[str, Any] | Table, dict[str, Any], Bad]:
        values: Any = self._values
        if self._from_data:
            values = DataColumn(_undecoded(self._source.data, self.column), self.column, self._values)
        settings = media_settings(self._side, values)
        read = MediaReader(settings, self._side.resample)
        if not len(values):
            return {"x": torch.zeros(0)}, settings, {}
        if _fits(values, read, self._side.in_memory):
            x, bad = _read_all(values, read, self._source.name)
            return {"x": x}, settings, bad
        bad = _looked_at(values)
        if bad:
            good = [i for i in range(len(values)) if i not in bad]
            values = (
                DataColumn(values.data, values.column, [values.rows[i] for i in good])
                if isinstance(values, DataColumn)
                else [values[i] for i in good]
            )
        return MediaTable(values, read), settings, bad


def media_settings(side: Side, values: Any) -> dict[str, Any]:
    """How pictures, sounds or series of a side become inputs, see ``files/readers.py``; the first series that can be
    read says how many channels and steps they have."""
    if side.modality == "series":
        channels, length = _first_shape(values)
        return {
            "kind": "series",
            "channels": channels,
            "length": side.length or length,
            "fits": side.length is not None,
        }
    if side.modality == "video":
        height, width = side.size
        shape = {"frames": side.frames, "height": height, "width": width, "channels": side.channels}
        return {"kind": "video", **shape, "mean": 0.5, "deviation": 0.5}
    if side.modality == "image":
        height, width = side.size
        shape = {"height": height, "width": width, "channels": side.channels}
        return {"kind": "image", **shape, "mean": 0.5, "deviation": 0.5}
    return {"kind": "log_mel", **asdict(spectrogram(side.log_mel))}


def _first_shape(values: Any) -> tuple[int, int]:
    for i in range(len(values)):
        try:
            channels, length = read_series(values[i]).shape
            return channels, length
        except DataError:  # told with the others
            continue
    return 1, 1


def _fits(values: Any, read: MediaReader, in_memory: bool | None) -> bool:
    if in_memory is not None:
        return in_memory
    for i in range(min(len(values), 20)):
        try:
            return len(values) * read(values[i]).numel() * 4 <= IN_MEMORY
        except DataError:  # told with the others
            continue
    return True


def _read_all(values: Any, read: MediaReader, name: str) -> tuple[Tensor, Bad]:
    tensors: list[Tensor] = []
    bad: Bad = {}
    with progress(f"Reading {Path(name).name}", len(values), "files") as advance:
        for i in range(len(values)):
            try:
                tensors.append(read(values[i]))
            except DataError as error:
                bad[i] = str(error).partition(";")[0].rstrip(".")
            advance(1)
    return torch.stack(tensors) if tensors else torch.zeros(0), bad


def _looked_at(values: Any) -> Bad:
    """Files that are missing or empty, without reading the others."""
    bad: Bad = {}
    for i, value in enumerate(values if not isinstance(values, DataColumn) else ()):
        if isinstance(value, Path):
            try:
                first_bytes(value, str(value))
            except DataError as error:
                bad[i] = str(error).partition(";")[0].rstrip(".")
    return bad


def _is_text(data: Any, column: str) -> bool:
    return getattr(data.features[column], "dtype", None) in ("string", "large_string")


def _undecoded(data: Any, column: str) -> Any:
    """The data set with files in place of pictures and sounds, which are decoded here, and no other column."""
    from dataclasses import replace

    kind = data.features[column]
    data = data.select_columns([column])
    return data.cast_column(column, replace(kind, decode=False)) if hasattr(kind, "decode") else data
