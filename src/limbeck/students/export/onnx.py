"""A student as an ONNX file, for runtimes without Python (extra ``onnx``)."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, ExportError
from limbeck.files import writing
from limbeck.problems.base import Problem, Reading
from limbeck.problems.registry import problem_class
from limbeck.students.export.answer import Answer, answer_to, answered
from limbeck.students.export.exported import load_exported
from limbeck.students.export.program import DTYPES, PROGRAM
from limbeck.students.export.swapping import beside, clear_killed
from limbeck.students.export.tracing import traced
from limbeck.students.pretrained import shipped_model
from limbeck.students.student import Student

_ROWS = 32  # that a shipped student is checked on


def export_onnx(
    model: Student | nn.Module,
    path: str | Path,
    inputs_example: Mapping[str, Tensor],
    *,
    problem: Problem | None = None,
    tolerance: float = 1e-4,
) -> float:
    """Write ``model`` to ``path`` as ONNX, from the named inputs to ``logits`` (of a problem without any, to
    ``prediction``), for any number of rows.

    Checked on the example before the file appears.

    Args:
        inputs_example: argument name to ``[n, ...]``, preprocessed.
        problem: what the model answers; None: a classification.
        tolerance: allowed difference of the logits, relative to the largest (at least 1).

    Returns: the largest difference of the logits.
    Raises: ConfigError without the extra; ExportError if the model cannot be traced or the logits differ.
    """
    _check_extra()
    inputs = {name: value.detach().cpu() for name, value in inputs_example.items()}
    answer = answer_to(model, problem or problem_class("classification")(()), inputs)
    return _written(answer, Path(path), inputs, inputs, tolerance)


def export_shipped_onnx(folder: str | Path, path: str | Path, *, tolerance: float = 1e-4) -> float:
    """:func:`export_onnx` of a student that was shipped (``RUN/student``), of which no code is run.

    Checked on 32 rows that are drawn in the shapes and types of its inputs.

    Raises: also DataError for a folder that is no student.
    """
    _check_extra()
    folder = Path(folder)
    student = load_exported(folder)
    inputs = _drawn(folder, student.info["inputs"])
    if student.info["loads_with"] == PROGRAM:
        answer: Answer = _Shipped(student.run, student.problem.reading)
    else:
        answer = answer_to(shipped_model(folder, student.info["loads_with"]), student.problem, inputs)
    two = {name: value[:2] for name, value in inputs.items()}
    return _written(answer, Path(path), two, inputs, tolerance)


class _Shipped(Answer):
    """A program in the place of a model."""

    def __init__(self, run: Any, reading: Reading) -> None:
        super().__init__(nn.Identity(), reading)
        self._run_program = run

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self._run_program(dict(inputs))


def _drawn(folder: Path, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """32 rows: numbers from a normal distribution, tokens of the vocabulary where there is one, nothing masked."""
    generator = torch.Generator().manual_seed(0)
    config = json.loads((folder / "config.json").read_text()) if (folder / "config.json").is_file() else {}
    rows = {}
    for name, spec in wanted.items():
        shape, dtype = (_ROWS, *spec["shape"][1:]), DTYPES[spec["dtype"]]
        if dtype.is_floating_point:
            rows[name] = torch.randn(shape, generator=generator).to(dtype)
        elif name == "input_ids":
            rows[name] = torch.randint(int(config.get("vocab_size", 2)), shape, generator=generator).to(dtype)
        else:
            rows[name] = torch.full(shape, int(name.endswith("mask")), dtype=dtype)
    return rows


def _check_extra() -> None:
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise ConfigError("ONNX export needs more packages; install them with: pip install 'limbeck[onnx]'.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on what else could be installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _written(
    answer: Answer, path: Path, example: Mapping[str, Tensor], rows: Mapping[str, Tensor], tolerance: float
) -> float:
    """Trace on ``example``, check on ``rows``, and give the file its name; the largest difference."""
    named = "logits" if answer.reading in ("classifier", "positions") else "prediction"
    with _quiet():
        program = torch.onnx.export(
            traced(answer, example), input_names=list(example), output_names=[named], verbose=False
        )
    assert program is not None  # None comes only from the older exporter, for scripts
    clear_killed(path)
    new = beside(path)
    try:
        with writing(path):
            program.save(new)
        difference, largest = _difference(answer, new, rows)
        if not difference <= tolerance * max(1.0, largest):
            raise ExportError(
                f"The ONNX {named} differ by {difference:.3g} from those of {type(answer.model).__name__}."
            )
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return difference


def _difference(answer: Answer, path: Path, inputs: Mapping[str, Tensor]) -> tuple[float, float]:
    """Largest difference of the logits, and the largest logit."""
    wanted = answered(answer, inputs)
    (found,) = _evaluator(path).run(None, {name: value.numpy() for name, value in inputs.items()})
    return float((torch.from_numpy(found) - wanted).abs().max()), float(wanted.abs().max())


def _evaluator(path: Path) -> Any:
    """ONNX's reference in Python, or onnxruntime where it is installed: it runs models that the other does not."""
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path))
