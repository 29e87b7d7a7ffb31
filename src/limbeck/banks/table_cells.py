"""Cells of a table as numbers: vectors of one width, and boxes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.signals.cells import number_of


class BadCell(Exception):
    """A cell that is no vector of numbers: its row in the chunk, and what stands there."""

    def __init__(self, row: int, what: str) -> None:
        self.row, self.what = row, what


def width_of_cells(column: Any) -> int:
    """Numbers in the first cell."""
    value = column[0] if isinstance(column, list) else column[0].as_py()
    if isinstance(value, str) and value.lstrip().startswith("["):
        return len(_parsed(value, 0))
    return len(value) if isinstance(value, (list, tuple)) else 1


def numbers(column: Any, width: int) -> np.ndarray:
    """``[n, width]`` float32 of a column of a chunk: cells of a CSV, values of JSON, or Arrow lists and numbers.

    Raises: BadCell.
    """
    import pyarrow as pa

    if isinstance(column, list):
        return _numbers_of_cells(column, width)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _numbers_of_cells(column.to_pylist(), width)
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if is_list else kind
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise BadCell(0, f"{kind} and no list of numbers")
    if column.null_count:
        raise BadCell(column.is_null().to_pylist().index(True), "nothing")
    if not is_list:
        return column.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, 1)
    _check_widths(column.value_lengths().to_pylist(), width)
    values = column.flatten()
    if values.null_count:
        raise BadCell(values.is_null().to_pylist().index(True) // width, "a list with a gap")
    return values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)


def _numbers_of_cells(cells: list[Any], width: int) -> np.ndarray:
    if width == 1:
        try:  # the common case, fast; it takes 1_000 too, so not where there is such a sign
            if "_" not in (joined := ",".join(cells)) and "[" not in joined:
                return np.asarray([float(cell) for cell in cells], dtype=np.float32).reshape(-1, 1)
        except (TypeError, ValueError):
            pass  # told below, with its place
    rows = [_parsed(cell, row) for row, cell in enumerate(cells)]
    _check_widths([len(row) for row in rows], width)
    try:
        return np.asarray(rows, dtype=np.float32)
    except OverflowError:  # a whole number of hundreds of digits
        return np.asarray([[float(str(number)) for number in row] for row in rows], dtype=np.float32)


def _check_widths(widths: Iterable[int], width: int) -> None:
    for row, found in enumerate(widths):
        if found != width or not found:
            raise BadCell(row, f"{found} numbers ({width} in the first row)")


def _parsed(cell: Any, row: int) -> list[float]:
    """The numbers of a list (in a CSV as JSON), or of a single number."""
    try:
        value = cell
        if isinstance(cell, str):
            value = json.loads(cell) if cell.lstrip().startswith("[") else [number_of(cell)]
        elif not isinstance(cell, (list, tuple)):
            value = [number_of(cell)]
        if all(type(number) in (int, float) for number in value):
            return list(value)
    except (ValueError, RecursionError):
        pass
    shown = "nothing" if cell is None else repr(cell) if len(repr(cell)) < 40 else repr(cell)[:37] + "..."
    raise BadCell(row, f"{shown}, neither a number nor a JSON list of numbers,")


# ---- boxes -------------------------------------------------------------------------------------------------------

_BOX_ROW = {"boxes": (4,), "box_labels": (), "box_scores": ()}


def boxes_of(cells: Iterable[Any], signal: str) -> list[Tensor]:
    """A tensor ``[l_i, 4]`` float32 (``boxes``), ``[l_i]`` int64 (``box_labels``) or float32 (``box_scores``) for each
    cell: lists, in a CSV as JSON; nothing where a picture has no box.

    Raises: BadCell.
    """
    width, dtype = _BOX_ROW[signal], np.int64 if signal == "box_labels" else np.float64
    rows = []
    for row, cell in enumerate(cells):
        try:
            value = json.loads(cell) if isinstance(cell, str) and cell else cell
            array = np.asarray([] if value is None or value == "" else value, dtype=np.float64)
            array = array.reshape(0, *width) if not array.size else array
            if array.shape[1:] != width or array.ndim != 1 + len(width) or not np.isfinite(array).all():
                raise ValueError
            if (whole := array.astype(dtype)).tolist() != array.tolist():  # a label of 1.5
                raise ValueError
        except (ValueError, TypeError, RecursionError, OverflowError):
            wanted = "lists of x0, y0, x1, y1" if width else "one number for each box"
            shown = repr(cell) if len(repr(cell)) < 40 else repr(cell)[:37] + "..."
            raise BadCell(row, f"{shown}, not {wanted},") from None
        rows.append(torch.from_numpy(whole if dtype is np.int64 else whole.astype(np.float32)))
    return rows
