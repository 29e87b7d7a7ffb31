"""Use an exported student on files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.readers import file_reader, table_reader
from limbeck.errors import DataError
from limbeck.progress import progress
from limbeck.students.export import load_exported

BATCH = 256  # files read and asked at once


def predict_files(student: str | Path, files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Class probabilities of files, ``[{"file", "probabilities": {class name: share}}]``.

    A student of images or audio answers once a file; a student of tables once a line of each CSV, with ``line``
    (the first below the header is 2).

    Raises: DataError for a folder that is no student, and for a file that cannot be read.
    """
    exported = load_exported(student)
    settings = exported.preprocessor
    rows: list[dict[str, Any]] = []
    with progress("Predicting", len(files), "files") as advance:
        for first in range(0, len(files), BATCH):
            batch = [Path(file) for file in files[first : first + BATCH]]
            found, inputs = _rows(batch, settings)
            shares = exported.logits({settings.get("input", "x"): inputs}).float().softmax(-1).tolist()
            for row, values in zip(found, shares, strict=True):
                rows.append({**row, "probabilities": dict(zip(exported.class_names, values, strict=True))})
            advance(len(batch))
    return rows


def _rows(files: Sequence[Path], settings: dict[str, Any]) -> tuple[list[dict[str, Any]], Tensor]:
    """What each row is called, and the inputs of all rows."""
    if not settings:
        raise DataError(
            "The student's preprocessor.json is empty, so files cannot be read; use load_exported()."
        )
    if settings.get("kind") != "table":
        read = file_reader(settings)
        return [{"file": str(file)} for file in files], torch.stack([read(file) for file in files])
    tables = [table_reader(settings)(file) for file in files]
    names = [
        {"file": str(file), "line": line}
        for file, table in zip(files, tables)
        for line in range(2, len(table) + 2)
    ]
    return names, torch.cat(tables)
