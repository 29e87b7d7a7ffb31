"""A student as an ONNX file, for runtimes without Python (extra ``onnx``)."""

from __future__ import annotations

import importlib.util
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
from limbeck.problems.base import Problem
from limbeck.problems.registry import problem_class
from limbeck.students.export.answer import Answer, answer_to, answered
from limbeck.students.export.swapping import beside, clear_killed
from limbeck.students.export.tracing import traced
from limbeck.students.student import Student

MODEL = "model.onnx"


def export_onnx(
    model: Student | nn.Module | Answer,
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
        problem: what the model answers; None: a classification. An :class:`Answer` knows it.
        tolerance: allowed difference of the logits, relative to the largest (at least 1).

    Returns: the largest difference of the logits.
    Raises: ConfigError without the extra; ExportError if the model cannot be traced or the logits differ.
    """
    check_extra()
    inputs = {name: value.detach().cpu() for name, value in inputs_example.items()}
    asked = problem or problem_class("classification")(())
    answer = model if isinstance(model, Answer) else answer_to(model, asked, inputs)
    return _written(answer, Path(path), inputs, inputs, tolerance)


def check_extra() -> None:
    """ConfigError without the extra."""
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
    return float((Session(path)(inputs) - wanted).abs().max()), float(wanted.abs().max())


def _evaluator(path: Path) -> Any:
    """ONNX's reference in Python, or onnxruntime where it is installed: it runs models that the other does not."""
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path))


def quantize_onnx(path: Path) -> None:
    """Weights of 8 bit in the place of those of ``path``; inputs of a layer are brought to 8 bit as they come.

    Raises: ConfigError without onnxruntime; ExportError where nothing can be quantised.
    """
    if not importlib.util.find_spec("onnxruntime"):
        raise ConfigError("Weights of 8 bit need onnxruntime; install it with: pip install 'limbeck[onnx]'.")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before, new = path.stat().st_size, path.with_name(f".{path.name}.int8")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # its advice on preparing a model first
    try:
        quantize_dynamic(path, new, weight_type=QuantType.QUInt8)
        if new.stat().st_size >= before:
            raise ExportError("The student has no weights that 8 bit would make smaller as ONNX.")
        os.replace(new, path)
    finally:
        root.setLevel(level)
        new.unlink(missing_ok=True)


class Session:
    """An ONNX file, ready to run: from inputs by name to its one output."""

    def __init__(self, path: Path) -> None:
        self._run = _evaluator(path).run

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        (found,) = self._run(None, {name: value.numpy() for name, value in inputs.items()})
        return torch.from_numpy(found)
