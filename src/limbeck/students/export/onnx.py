"""A student as an ONNX file, for runtimes without Python (extra ``onnx``)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, ExportError
from limbeck.students.calling import call_by_name, logits_of
from limbeck.students.export.tracing import traced
from limbeck.students.student import Student, bare_copy


def export_onnx(
    model: Student | nn.Module,
    path: str | Path,
    inputs_example: Mapping[str, Tensor],
    *,
    tolerance: float = 1e-4,
) -> float:
    """Write ``model`` to ``path`` as ONNX, from the named inputs to ``logits``, for any number of rows.

    Checked with ONNX's reference evaluator on the example before the file appears.

    Args:
        inputs_example: argument name to ``[n, ...]``, preprocessed.
        tolerance: allowed difference of the logits, relative to the largest (at least 1).

    Returns: the largest difference of the logits.
    Raises: ConfigError without the extra; ExportError if the model cannot be traced or the logits differ.
    """
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise ConfigError("ONNX export needs more packages; install them with: pip install 'limbeck[onnx]'.")
    path = Path(path)
    bare, inputs = bare_copy(model), {name: value.detach().cpu() for name, value in inputs_example.items()}
    program = torch.onnx.export(
        traced(bare, inputs), input_names=list(inputs), output_names=["logits"], verbose=False
    )
    assert program is not None  # None comes only from the older exporter, for scripts
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        program.save(new)
        difference, largest = _difference(bare, new, inputs)
        if not difference <= tolerance * max(1.0, largest):
            raise ExportError(
                f"The ONNX logits differ by {difference:.3g} from those of {type(bare).__name__}."
            )
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return difference


def _difference(model: nn.Module, path: Path, inputs: Mapping[str, Tensor]) -> tuple[float, float]:
    """Largest difference of the logits, and the largest logit."""
    from onnx.reference import ReferenceEvaluator

    with torch.no_grad():
        wanted = logits_of(call_by_name(model, inputs), model)
    (found,) = ReferenceEvaluator(str(path)).run(
        None, {name: value.numpy() for name, value in inputs.items()}
    )
    return float((torch.from_numpy(found) - wanted).abs().max()), float(wanted.abs().max())
