"""Time series and sensors: a file or a cell to ``[channels, length]``.

A table is a step a row and a channel a column; an array is ``[channels, length]``, or ``[length]`` of one channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.files.contents import first_bytes
from limbeck.data.files.pictures import as_numpy
from limbeck.data.files.table_files import SUFFIXES, table_file
from limbeck.errors import DataError
from limbeck.signals.cells import number_of

ARRAYS = (".npy",)
_STEPS = 4096  # read at once


@dataclass(frozen=True)
class SeriesForm:
    """What all series of a data set have in common.

    Args:
        channels, length: of each.
        fits: longer ones are cut at the end, and shorter ones repeat their last step; else others are errors.
    """

    channels: int
    length: int
    fits: bool

    def of(self, x: Tensor, where: str) -> Tensor:
        """``[channels, length]``; DataError for a series of another form."""
        channels, length = x.shape
        if channels != self.channels:
            raise DataError(f"{where} has {channels} channels where the first has {self.channels}; mend it.")
        if length == self.length:
            return x
        if not self.fits:
            raise DataError(
                f"{where} has {length} steps where the first has {self.length}; set length: {self.length} to cut and "
                "fill."
            )
        at = torch.arange(self.length).clamp(max=length - 1)
        return x[:, at]


def read_series(value: Any, where: str = "a series") -> Tensor:
    """Any form of a series as ``[channels, length]`` float32.

    Args:
        value: a path of ``.npy``, or of a table; lists of numbers, an array or a tensor.
        where: what it is called in messages, where it has no path.

    Raises: DataError, one sentence, for what is none, is empty, or has what is no finite number.
    """
    where = str(value) if isinstance(value, Path) else where
    x = _of_file(value) if isinstance(value, Path) else _array(value, where)
    x = x[None] if x.ndim == 1 else x
    if x.ndim != 2 or not x.size:
        raise DataError(f"{where} has the shape {list(x.shape)}; a series is [channels, length].")
    if not np.isfinite(x).all():
        channel, step = map(int, np.argwhere(~np.isfinite(x))[0])
        raise DataError(
            f"{where} has a number that is not finite (channel {channel}, step {step}); fill the gap."
        )
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


def _of_file(path: Path) -> np.ndarray:
    first_bytes(path, str(path))
    if path.suffix.lower() in ARRAYS:
        try:
            return _array(np.load(path, allow_pickle=False), str(path))
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{path} cannot be read as an array of numbers; save it anew.") from error
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no series; give {', '.join((*ARRAYS, *SUFFIXES))}.")
    table = table_file(path)
    if first := _numbers(table.columns):  # no header: the first line is a step
        table = table_file(path, header=[str(i) for i in range(len(first))])
    steps: list[list[float]] = []
    for chunk in table.rows(table.columns, _STEPS):
        for place, row in zip(chunk.places, chunk.records(), strict=True):
            found = _numbers(list(row.values()))
            if found is None:
                raise DataError(
                    f"{path} holds what is no number ({table.unit} {place}); a series has a step a row and a channel a "
                    "column."
                )
            steps.append(found)
    return np.array(steps, dtype=np.float32).T


def _numbers(cells: Sequence[Any]) -> list[float] | None:
    try:
        return [number_of(cell) for cell in cells]
    except (ValueError, TypeError):
        return None


def _array(value: Any, where: str) -> np.ndarray:
    if isinstance(value, (str, bytes, Mapping)) or value is None:
        raise DataError(f"{where} is {type(value).__name__}; a series is lists of numbers, or names a file.")
    try:
        found = as_numpy(value)
        if found.dtype.kind not in "fiub":
            raise TypeError
    except (TypeError, ValueError) as error:  # lists of different lengths, or of texts
        raise DataError(
            f"{where} is no array of numbers; give each channel a list of the same length."
        ) from error
    return found.astype(np.float32)
