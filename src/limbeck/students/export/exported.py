"""Use an exported student. Nothing that its folder holds is run as code; see SECURITY.md."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.problems.base import Problem
from limbeck.problems.registry import problem
from limbeck.students.export.info import (
    FIRST_WHOLE,
    INFO,
    SUBFOLDERS,
    digest_of,
    read_info,
    read_preprocessor,
)
from limbeck.students.export.pooled import POOLED, run_pooled
from limbeck.students.export.program import PROGRAM, load_program
from limbeck.students.foreign import refuse_links
from limbeck.students.language.writing import written
from limbeck.students.pretrained import load_shipped, shipped_model, shipped_run
from limbeck.students.text import load_tokenizer

_FOR_PEOPLE = re.compile(r"README\.md|(LICEN[CS]E|NOTICE|CITATION)\b.*|\..*")


@dataclass(frozen=True)
class ExportedStudent:
    """An exported student, loaded.

    Args:
        run: inputs to what the student answers.    problem: what that says.
        preprocessor: settings that make inputs from raw samples.
        info: what ``student.json`` holds, provenance included.
        model: of a student that writes, the model itself.
    """

    run: Callable[[dict[str, Tensor]], Tensor]
    problem: Problem
    preprocessor: dict[str, Any]
    info: dict[str, Any]
    model: Any = None

    @torch.no_grad()
    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits ``[n, *p, C]`` on the CPU; of a problem without any, its embedding ``[n, D]`` or prediction. A single
        input may have any name.

        Raises: ConfigError for inputs that the student does not take; DataError where it gives no such answer.
        """
        names = list(self.info["inputs"])
        if len(names) == len(inputs) == 1:
            inputs = {names[0]: next(iter(inputs.values()))}
        if set(inputs) != set(names):
            raise ConfigError(
                f"The student takes the inputs {', '.join(names)}, not {', '.join(inputs) or 'none'}."
            )
        given = self.run({name: inputs[name].cpu().contiguous() for name in names})
        named = len(self.class_names) if self._has_logits and self.problem.names_outputs else None
        wanted = self.problem.n_outputs() or named
        is_one = isinstance(given, Tensor) and given.ndim >= (
            1 if self.problem.reading == "prediction" else 2
        )
        at_rows = is_one and (self.problem.reading != "classifier" or given.ndim == 2)
        if not at_rows or (wanted is not None and given.shape[-1] != wanted):
            what = f"logits of its {wanted} classes" if self._has_logits else f"vector of {wanted} numbers"
            raise DataError(f"The student gives no {what if wanted else 'answer'}; export it again.")
        return given

    def write(self, prompts: Sequence[Tensor], **options: Any) -> Tensor:
        """What its model writes to prompts, see :func:`limbeck.students.language.writing.written`."""
        return written(self.model, prompts, **options)

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """:meth:`outputs` of a problem with logits; ConfigError for another."""
        if not self._has_logits:
            raise ConfigError(
                f"A student of the problem {self.problem.kind} has no logits; read its outputs."
            )
        return self.outputs(inputs)

    @property
    def _has_logits(self) -> bool:
        return self.problem.reading in ("classifier", "positions")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the logits, in order."""
        return self.problem.names

    def predictions(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Probabilities of the classes, or values, ``[n, *p, C]``."""
        return self.problem.predictions(self.outputs(inputs))

    def answers(self, inputs: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """What the problem answers for each row, JSON-able: ``{"probabilities": {...}}``, ``{"value": ...}``, ..."""
        if self.problem.writes:
            return self.problem.answers(self.problem.write(self, inputs))
        outputs, mask = self.outputs(inputs), inputs.get("attention_mask")
        is_of_positions = mask is not None and mask.shape == outputs.shape[:-1]
        return self.problem.answers(outputs, mask) if is_of_positions else self.problem.answers(outputs)


def load_exported(folder: str | Path) -> ExportedStudent:
    """Load what ``export_student`` wrote, from whomever it comes: weights and settings are read, no code.

    Raises: DataError for a folder that is no export, of a newer format, of which a file has changed, or that holds
    what no export holds.
    """
    folder = Path(folder)
    info = whole_info(folder)
    settings = read_preprocessor(folder)
    asked, loads_with, model = problem(info["problem"], info["class_names"]), info["loads_with"], None
    if asked.writes:
        asked = asked.for_tokenizer(load_tokenizer(folder))
        model = shipped_model(folder, loads_with)
        run: Callable[[dict[str, Tensor]], Tensor] = shipped_run(model, folder, loads_with)
    elif loads_with == PROGRAM:
        run = load_program(folder)
    elif loads_with == POOLED:
        run = run_pooled(folder, asked)
    else:
        run = load_shipped(folder, loads_with)
    return ExportedStudent(run, asked, settings, info, model)


def whole_info(folder: Path) -> dict[str, Any]:
    """What ``student.json`` holds, where it and the files beside it are those that were exported; errors as
    :func:`load_exported`."""
    refuse_links(folder)
    info = read_info(folder)
    for name, digest in info["sha256"].items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise DataError(f"{folder / name} is missing or not what was exported; copy or export it again.")
    is_older = info["format"] < FIRST_WHOLE  # which knows its weights alone
    for path in weight_files(folder) if is_older else hashed_files(folder):
        if path.relative_to(folder).as_posix() not in info["sha256"]:
            raise DataError(f"{path} is not among what was exported; remove it, or export the student again.")
    if not is_older and info["digest"] != digest_of(info):
        raise DataError(f"{folder / INFO} is not what was exported; copy or export it again.")
    return info


def predict(folder: str | Path, inputs: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Class name to probability (of a regression its name to the value), a dictionary for each row of ``inputs``
    (argument name to ``[n, ...]``); of a problem that does not answer so, :meth:`ExportedStudent.answers`.

    Loads the student; for many calls keep ``load_exported(folder)`` and use its ``predictions``.
    """
    student = load_exported(folder)
    if student.problem.reading != "classifier":
        return student.answers(inputs)
    return [dict(zip(student.class_names, row, strict=True)) for row in student.predictions(inputs).tolist()]


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files that the logits come from, weights and program."""
    return [path for path in hashed_files(folder) if path.suffix == ".safetensors" or path.name == PROGRAM]


def hashed_files(folder: Path) -> list[Path]:
    """The files that ``student.json`` has a hash of: all that a loader may read. It holds no own one in the list, and
    none of what people read and hubs rewrite: the card, licences, hidden files."""
    places = [folder, *(folder / name for name in SUBFOLDERS if (folder / name).is_dir())]
    return sorted(
        path
        for place in places
        for path in place.iterdir()
        if path.is_file() and path.name != INFO and not _FOR_PEOPLE.fullmatch(path.name)
    )
