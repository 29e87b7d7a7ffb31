"""Use an exported student on files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.audio import LogMel, read_wave
from limbeck.data.images import read_image
from limbeck.errors import DataError
from limbeck.students.export import predict

PREPROCESSOR_FILE = "preprocessor.json"


def predict_files(student: str | Path, files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Class probabilities of files, ``[{"file", "probabilities": {class name: share}}]``.

    Raises: DataError for a folder that is no student, and for a file that cannot be read.
    """
    path = Path(student) / PREPROCESSOR_FILE
    if not path.is_file():
        raise DataError(f"{student} is no exported student: it holds no {PREPROCESSOR_FILE}.")
    settings = json.loads(path.read_text(encoding="utf-8"))
    read = reader(settings)
    inputs = torch.stack([read(Path(file)) for file in files])
    rows = predict(student, {settings.get("input", "x"): inputs})
    return [{"file": str(file), "probabilities": row} for file, row in zip(files, rows)]


def reader(settings: dict[str, Any]) -> Callable[[Path], Tensor]:
    """What turns a file into one row of inputs, from a preprocessor's settings."""
    values = {key: value for key, value in settings.items() if key not in ("kind", "input")}
    if settings.get("kind") == "log_mel":
        features = LogMel(**values)
        return lambda path: features(read_wave(path, features.rate, resample=True))
    if settings.get("kind") == "image":
        height, width, channels = values["height"], values["width"], values["channels"]
        return lambda path: (
            (read_image(path, (height, width), channels) - values["mean"]) / values["deviation"]
        )
    raise DataError(
        f"There is no reader for files of kind {settings.get('kind')!r}; use load_exported() in Python."
    )
