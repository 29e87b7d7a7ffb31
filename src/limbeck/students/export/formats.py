"""A shipped student in another format, measured before and after."""

from __future__ import annotations

import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, ExportError
from limbeck.files import writing
from limbeck.students.export.answer import Answer
from limbeck.students.export.eight_bit import quantize_program
from limbeck.students.export.exported import ExportedStudent, hashed_files, load_exported
from limbeck.students.export.folder import Told, check_target, usual_modes, write_info, write_student
from limbeck.students.export.info import INFO
from limbeck.students.export.onnx import MODEL, Session, check_extra, export_onnx, quantize_onnx
from limbeck.students.export.onnx_folder import ONNX_INFO, write_onnx_folder
from limbeck.students.export.program import PROGRAM
from limbeck.students.export.shipped import N_ROWS, drawn_rows, shipped_answer
from limbeck.students.export.swapping import beside, clear_killed, swap
from limbeck.students.text import tokenizer_of

FORMATS = ("onnx", "torch", "hf")
_EXACT, _EIGHT_BIT = 1e-3, 0.5  # largest difference, relative to the largest output
_CALLS = 15  # of a row, timed


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Args:
        format: ``onnx``, ``torch`` or ``hf``, with `` int8`` where weights are of 8 bit.
        folder: where it lies.
        difference: largest, of any output of 32 drawn rows, from those of the shipped student; largest: output.
        agreement: share of these rows with the same largest output; None where outputs are no classes.
        bytes_before, bytes_after: of all files that are read.
        milliseconds_before, milliseconds_after: of a row, median of 15 calls.
    """

    format: str
    folder: str
    difference: float
    largest: float
    agreement: float | None
    bytes_before: int
    bytes_after: int
    milliseconds_before: float
    milliseconds_after: float

    def told(self) -> str:
        """A sentence for people."""
        same = "" if self.agreement is None else f" (the same class in {self.agreement:.0%})"
        return (
            f"{self.folder}: largest difference on {N_ROWS} drawn rows {self.difference:.2g} of outputs up to "
            f"{self.largest:.2g}{same}; {self.bytes_before:,} to {self.bytes_after:,} bytes, "
            f"{self.milliseconds_before:.2g} to {self.milliseconds_after:.2g} ms a row"
        )


def convert(source: str | Path, folder: str | Path, kind: str, quantize: str | None = None) -> Converted:
    """Write the student in ``source`` to ``folder`` as ``kind``; it appears whole or not at all.

    ``onnx``: ``model.onnx`` beside what makes its inputs, for onnxruntime, without torch. ``torch``: the program of
    :mod:`limbeck.students.export.program`, which needs torch and no transformers. ``hf``: a folder of transformers or
    sentence-transformers.

    Args:
        quantize: ``int8``: weights of 8 bit.

    Raises: ConfigError for a format that this student does not have, and without the extra ``onnx``; ExportError where
    it answers otherwise; DataError for a source that is no student.
    """
    source, named, folder = Path(source), Path(folder), Path(folder).absolute()
    student = load_exported(source)
    _check(kind, quantize, student)
    if folder.resolve() == source.resolve():
        raise ConfigError(f"{folder} is the student itself; name another folder.")
    if not (folder / ONNX_INFO).is_file():
        check_target(folder)
    rows = drawn_rows(source, student.info["inputs"])
    with writing(folder):
        clear_killed(folder)
        new = beside(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        try:
            run = _WRITERS[kind](source, new, student, rows, quantize)
            usual_modes(new)
            result = _measured(student, run, rows, quantize is not None)
            swap(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return replace(
        result,
        format=kind if quantize is None else f"{kind} {quantize}",
        folder=str(named),
        bytes_before=_size(source),
        bytes_after=_size(folder),
    )


def _check(kind: str, quantize: str | None, student: ExportedStudent) -> None:
    if kind not in FORMATS or quantize not in (None, "int8"):
        raise ConfigError(
            f"There is no format {kind!r} of {quantize or 'full'} weights; take {', '.join(FORMATS)}."
        )
    if kind == "onnx":
        check_extra()
    if kind == "hf" and quantize:
        raise ConfigError(
            "Transformers reads weights of 8 bit by packages of their own (bitsandbytes, torchao), which limbeck does "
            "not open; quantize the formats torch or onnx."
        )
    if kind == "hf" and student.info["loads_with"] == PROGRAM:
        raise ConfigError(
            "The student is a module that transformers has no class for, so it cannot be a folder of transformers; "
            "take the format torch or onnx."
        )


def _as_onnx(
    source: Path, new: Path, student: ExportedStudent, rows: Mapping[str, Tensor], quantize: str | None
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    answer = shipped_answer(source, student, rows)
    export_onnx(answer, new / MODEL, {name: value[:2] for name, value in rows.items()})
    if quantize:
        quantize_onnx(new / MODEL)
    write_onnx_folder(source, new, student)
    return Session(new / MODEL)


def _as_torch(
    source: Path, new: Path, student: ExportedStudent, rows: Mapping[str, Tensor], quantize: str | None
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    if student.info["loads_with"] == PROGRAM:
        _copy(source, new)
    else:
        two = {name: value[:2] for name, value in rows.items()}
        answer: Answer = shipped_answer(source, student, two)
        is_text = student.preprocessor.get("kind") == "text"
        tokenizer = tokenizer_of(f"hf:{source}") if is_text else None
        provenance = student.info.get("provenance", {})
        card = student.info.get("card", {})
        told = Told(student.problem, student.preprocessor, provenance, tokenizer, card, as_program=True)
        write_student(answer, new, two, told)
    if quantize:
        quantize_program(new)
        write_info(new, {**_info(new), "weights": quantize})
    return load_exported(new).outputs


def _as_hf(
    source: Path, new: Path, student: ExportedStudent, rows: Mapping[str, Tensor], quantize: str | None
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    _copy(source, new)
    return load_exported(new).outputs


_WRITERS = {"onnx": _as_onnx, "torch": _as_torch, "hf": _as_hf}


def _copy(source: Path, new: Path) -> None:
    for path in (*hashed_files(source), source / INFO, source / "README.md"):
        if path.is_file():
            (new / path.relative_to(source)).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, new / path.relative_to(source))


def _info(folder: Path) -> dict[str, Any]:
    return json.loads((folder / INFO).read_text(encoding="utf-8"))


def _measured(
    student: ExportedStudent,
    run: Callable[[Mapping[str, Tensor]], Tensor],
    rows: Mapping[str, Tensor],
    rough: bool,
) -> Converted:
    """The differences on ``rows`` and the times; ExportError where it answers otherwise."""
    wanted, found = student.outputs(rows).float(), run(rows).float()
    difference = float((found - wanted).abs().max()) if found.shape == wanted.shape else math.inf
    largest = float(wanted.abs().max())
    allowed = _EIGHT_BIT if rough else _EXACT if student.outputs(rows).dtype == torch.float32 else 0.02
    if not difference <= allowed * max(1.0, largest):
        raise ExportError(
            f"The student answers otherwise in that format: outputs up to {largest:.3g} differ by up to "
            f"{difference:.3g}; nothing was written."
        )
    is_classes = student.problem.is_distribution and wanted.shape[-1] > 1
    same = (found.argmax(-1) == wanted.argmax(-1)).float().mean().item() if is_classes else None
    one = {name: value[:1].contiguous() for name, value in rows.items()}
    before, after = _milliseconds(student.outputs, one), _milliseconds(run, one)
    return Converted("", "", difference, largest, same, 0, 0, before, after)


def _milliseconds(run: Callable[[Mapping[str, Tensor]], Any], row: Mapping[str, Tensor]) -> float:
    times = []
    for _ in range(_CALLS + 2):
        start = time.perf_counter()
        run(row)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])  # the first ones make room and tables


def _size(folder: Path) -> int:
    return sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "README.md"
    )
