"""How far the answers of a model in half precision, or compiled, are from those of the same model in float32."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Ragged
from limbeck.signals.teacher import first_rows
from limbeck.teachers.hf.settings import Loading

Ask = Callable[[Mapping[str, Any]], TeacherOutput]


def is_reduced(how: Loading) -> bool:
    """Whether the model is to answer otherwise than in plain float32."""
    return bool(how.compile) or how.dtype != "float32"


def compared(how: Loading, got: Ask, exact: Ask, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What is noted of a teacher: how it computes, and over the first rows the largest and the mean difference of its
    features (a classifier's: of its logits), relative to the length of the row's in float32."""
    rows = first_rows(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the rows deserve is said when they are asked about
        ours, theirs = _rows(got(rows)), _rows(exact(rows))
    gap = torch.linalg.vector_norm(ours - theirs, dim=-1)
    length = torch.linalg.vector_norm(theirs, dim=-1)
    part = torch.where(length > 0, gap / length, gap)
    computed = how.dtype + ", compiled" * bool(how.compile)
    # two digits: more would hang on the threads that computed it
    off = {"largest": f"{float(part.max()):.1e}", "mean": f"{float(part.mean()):.1e}"}
    n = len(next(iter(rows.values())))
    return {"computed in": computed, "difference to float32": {**off, "rows": n}}


def in_words(notes: Mapping[str, Any]) -> str | None:
    """The line of a summary; ``None`` of a teacher that computed in plain float32."""
    off = notes.get("difference to float32")
    if not isinstance(off, Mapping):
        return None
    return (
        f"computed in {notes.get('computed in')}: on the first {off['rows']} rows the answers differ from those in "
        f"float32 by {off['mean']} of their length on average, {off['largest']} at most"
    )


def check_compiled(source: str, how: Loading, towers: tuple[str, ...], layers: tuple[int | str, ...]) -> None:
    """ConfigError for what a compiled model cannot be read of: its parts are read through hooks."""
    if not how.compile:
        return
    if len(towers) > 1 or "fused" in towers:
        raise ConfigError(
            f"compile=True is for models of one tower, and {source} has {' and '.join(towers)}; leave it out."
        )
    if by_path := [layer for layer in layers if isinstance(layer, str)]:
        raise ConfigError(
            f"A compiled model shows no module's output, so the layer {by_path[0]!r} cannot be read; name layers by "
            "number, or leave out compile=True."
        )


def _rows(output: TeacherOutput) -> Tensor:
    """``[m, ...]`` float32 on the CPU: logits of a classifier, else features; of rows of many states each state."""
    found = output.logits if output.logits is not None else output.features
    values = found.values if isinstance(found, Ragged) else found
    assert isinstance(values, Tensor)
    return values.detach().float().cpu()
