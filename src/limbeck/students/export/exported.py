"""Use an exported student."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.students.export.card import TRACED
from limbeck.students.export.tracing import refuse_pickles
from limbeck.students.pretrained import quietly

FORMAT = 1
INFO, PREPROCESSOR = "student.json", "preprocessor.json"
WEIGHT_SUFFIXES = (".pt2", ".safetensors")


@dataclass(frozen=True)
class ExportedStudent:
    """An exported student, loaded.

    Args:
        run: inputs to logits.    class_names: names of the logits, in order.
        preprocessor: settings that make inputs from raw samples.
        info: what ``student.json`` holds, provenance included.
    """

    run: Callable[[dict[str, Tensor]], Tensor]
    class_names: tuple[str, ...]
    preprocessor: dict[str, Any]
    info: dict[str, Any]

    @torch.no_grad()
    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits ``[n, C]`` on the CPU, a row per token for token-level models; a single input may have any name.

        Raises: ConfigError for inputs that the student does not take.
        """
        names = list(self.info["inputs"])
        if len(names) == len(inputs) == 1:
            inputs = {names[0]: next(iter(inputs.values()))}
        if set(inputs) != set(names):
            raise ConfigError(
                f"The student takes the inputs {', '.join(names)}, not {', '.join(inputs) or 'none'}."
            )
        return self.run({name: inputs[name].cpu().contiguous() for name in names}).flatten(0, -2)

    @property
    def problem(self) -> str:
        """``classification``, ``regression`` (the logits are values) or ``choice``."""
        return self.info.get("problem", "classification")

    def answers(self, inputs: Mapping[str, Tensor]) -> list[dict[str, float]]:
        """Class name (or choice) to probability for each row; for regression the name of the value to the value."""
        logits = self.logits(inputs).float()
        rows = (logits if self.problem == "regression" else logits.softmax(-1)).tolist()
        return [dict(zip(self.class_names, row, strict=True)) for row in rows]


def load_exported(folder: str | Path) -> ExportedStudent:
    """Load what ``export_student`` wrote; only from those you trust, as with any model file.

    Raises: DataError for a folder that is no export, of a newer format, or whose weights have changed.
    """
    folder = Path(folder)
    info = _read(folder / INFO)
    if info.get("format") != FORMAT:
        raise DataError(
            f"{folder} is of format {info.get('format')}, this limbeck reads {FORMAT}; update limbeck."
        )
    for name, digest in info["sha256"].items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise DataError(f"{folder / name} is missing or not what was exported; copy or export it again.")
    run = _traced(folder) if info["loads_with"] == TRACED else _transformers(folder, info["loads_with"])
    return ExportedStudent(run, tuple(info["class_names"]), _read(folder / PREPROCESSOR), info)


def predict(folder: str | Path, inputs: Mapping[str, Tensor]) -> list[dict[str, float]]:
    """Class name to probability (regression: to the value), a dictionary for each row of ``inputs`` (argument name to
    ``[n, ...]``).

    Loads the student; for many calls keep ``load_exported(folder)`` and use its ``answers``.
    """
    return load_exported(folder).answers(inputs)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path.parent} is no exported student: it holds no {path.name}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no valid JSON ({error}); export the student again.") from error


def _traced(folder: Path) -> Callable[[dict[str, Tensor]], Tensor]:
    path = folder / "student.pt2"
    refuse_pickles(path)
    return torch.export.load(str(path)).module()


def _transformers(folder: Path, auto: str) -> Callable[[dict[str, Tensor]], Tensor]:
    import transformers

    with quietly():
        model = getattr(transformers, auto).from_pretrained(folder).eval()
    return lambda inputs: model(**inputs).logits
