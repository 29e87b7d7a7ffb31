"""The one long-form schema of results, and the file that keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.errors import DataError, nearest
from limbeck.files import write_whole

METRICS_FILE = "metrics.json"
NO_CONTROL = "none"


@dataclass(frozen=True)
class Row:
    """One measured value.

    Args:
        arm: what is compared, for example ``supervised`` or ``bagged``; unique per comparison.
        method: name in the registry of methods.
        link: the link between the modalities that the arm used, ``none`` where no teacher spoke.
        control: ``none`` for the arm itself, else what was broken: ``shuffled``, ``random``, ...
        seed: the run's seed; arms are paired over seeds.
        split: ``validation``, ``test``, ``test_unseen``, ...
        metric: ``accuracy``, ``macro_f1``, ...
        value: finite; shares lie between 0 and 1.
        seconds: wall time of the training, >= 0.
        steps: optimiser steps, >= 0.

    Raises: DataError for a value of the wrong type or outside its range.
    """

    arm: str
    method: str
    link: str
    control: str
    seed: int
    split: str
    metric: str
    value: float
    seconds: float
    steps: int

    def __post_init__(self) -> None:
        for name in ("arm", "method", "link", "control", "split", "metric"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise DataError(f"{name!r} of a result row must be a non-empty string; {self._was(name)}")
        for name in ("seed", "steps"):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise DataError(f"{name!r} of a result row must be a whole number; {self._was(name)}")
        for name in ("value", "seconds"):
            number = getattr(self, name)
            if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
                raise DataError(f"{name!r} of a result row must be a finite number; {self._was(name)}")
        if self.seconds < 0 or self.steps < 0:
            raise DataError(
                f"A result row took {self.seconds} seconds and {self.steps} steps; neither is below 0."
            )

    def _was(self, name: str) -> str:
        return (
            f"it is {getattr(self, name)!r} (arm {self.arm!r}, seed {self.seed!r}, metric {self.metric!r})."
        )


class Metrics(NamedTuple):
    """What a metrics file holds: the rows, and JSON-able facts about how they came about."""

    rows: list[Row]
    info: dict[str, Any]


def row_from_dict(values: Any, source: str) -> Row:
    """A row from plain values; DataError names ``source`` (a file and a place in it) and the wrong field."""
    if not isinstance(values, Mapping):
        raise DataError(f"{source} must be an object with the fields of a result row, not {values!r}.")
    known = [field.name for field in fields(Row)]
    for name in values:
        if name not in known:
            raise DataError(f"{source} has the unknown field {name!r}; {nearest(str(name), known)}")
    missing = [name for name in known if name not in values]
    if missing:
        raise DataError(f"{source} lacks {', '.join(map(repr, missing))}.")
    try:
        return Row(**values)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error


def metrics_path(folder_or_file: str | Path) -> Path:
    """``metrics.json`` inside a folder, or the path itself when it ends in ``.json``."""
    path = Path(folder_or_file)
    return path if path.suffix == ".json" else path / METRICS_FILE


def write_metrics(
    folder_or_file: str | Path, rows: Iterable[Row], info: Mapping[str, Any] | None = None
) -> Path:
    """Write ``{"rows": [...], "info": {...}}`` whole or not at all; returns the path of the file.

    Raises: DataError if ``info`` holds something that JSON cannot.
    """
    path = metrics_path(folder_or_file)
    content = {"rows": [asdict(row) for row in rows], "info": dict(info or {})}
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"The facts for {path} must be plain JSON values: {error}.") from error
    write_whole(path, text + "\n")
    return path


def read_metrics(folder_or_file: str | Path) -> Metrics:
    """The rows and facts of a metrics file.

    Raises: DataError that names the file and what is wrong with it.
    """
    path = metrics_path(folder_or_file)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"There is no {path}; give the folder of a finished run or comparison.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); run again to write it anew.") from error
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise DataError(f"{path} is not a metrics file: it must be an object with a list called 'rows'.")
    info = content.get("info", {})
    if not isinstance(info, dict):
        raise DataError(f"'info' in {path} must be an object, not {info!r}.")
    rows = [row_from_dict(values, f"{path}, row {i}") for i, values in enumerate(content["rows"])]
    return Metrics(rows, info)
