"""A student as an ONNX file, for runtimes without Python (extra ``onnx``)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, ExportError
from limbeck.problems.base import Problem
from limbeck.problems.registry import problem_class
from limbeck.students.export.answer import Answer, answer_to, answered
from limbeck.students.export.tracing import traced
from limbeck.students.student import Student


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

    Checked with ONNX's reference evaluator on the example before the file appears.

    Args:
        inputs_example: argument name to ``[n, ...]``, preprocessed.
        problem: what the model answers; None: a classification.
        tolerance: allowed difference of the logits, relative to the largest (at least 1).

    Returns: the largest difference of the logits.
    Raises: ConfigError without the extra; ExportError if the model cannot be traced or the logits differ.
    """
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise ConfigError("ONNX export needs more packages; install them with: pip install 'limbeck[onnx]'.")
    path = Path(path)
    inputs = {name: value.detach().cpu() for name, value in inputs_example.items()}
    answer = answer_to(model, problem or problem_class("classification")(()), inputs)
    named = "logits" if answer.reading in ("classifier", "positions") else "prediction"
    program = torch.onnx.export(
        traced(answer, inputs), input_names=list(inputs), output_names=[named], verbose=False
    )
    assert program is not None  # None comes only from the older exporter, for scripts
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        program.save(new)
        difference, largest = _difference(answer, new, inputs)
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
    from onnx.reference import ReferenceEvaluator

    wanted = answered(answer, inputs)
    (found,) = ReferenceEvaluator(str(path)).run(
        None, {name: value.numpy() for name, value in inputs.items()}
    )
    return float((torch.from_numpy(found) - wanted).abs().max()), float(wanted.abs().max())
