"""From what a teacher said to what is stored: names, shapes, dtypes, and numbers that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.checks import check_boxes, check_finite, check_layouts, check_log_probs, check_top_k
from limbeck.banks.folder.fields import HIDDEN, TEXT
from limbeck.banks.layout import check_names, entry_of, told
from limbeck.errors import BankError, DataError, InconsistentOutputError, some
from limbeck.functional.response.top_k import LOG_ZERO
from limbeck.signals.key import Key
from limbeck.signals.output import SIGNALS, TeacherOutput, as_signal
from limbeck.signals.ragged import Ragged, Signal, mapped, n_classes_of, parts_of

Schema = dict[str, dict[str, Any]]


def columns_of(output: TeacherOutput, keys: Sequence[Key]) -> dict[str, Any]:
    """The signals of ``output``, a row for each key; BankError if it has none, another length, or what does not
    belong together."""
    plain = [name for name in SIGNALS if name != "hidden_states"]
    columns: dict[str, Any] = {
        name: as_signal(name, value, f"teacher's {name}")
        for name in plain
        if (value := getattr(output, name)) is not None
    }
    hidden = {HIDDEN + layer: value for layer, value in output.hidden_states.items()}
    columns |= {name: as_signal(name, value, f"teacher's {name}") for name, value in hidden.items()}
    if not columns:
        raise BankError("The teacher says nothing: give at least one of features, logits, log_probs, text.")
    for name, value in columns.items():
        if len(value) != len(keys):
            raise BankError(
                f"The teacher's {name} have {len(value)} rows for {len(keys)} inputs (keys {some(keys, 3)}); "
                "it must answer one row for each input, in order."
            )
        if isinstance(value, Tensor) and value.dim() < 2:
            raise BankError(
                f"The teacher's {name} must be [rows, width]; they have shape {list(value.shape)}."
            )
    check_layouts(columns)
    check_boxes(columns, keys)
    check_names(columns)
    return {n: v if n == TEXT else mapped(v, lambda t: t.detach().cpu()) for n, v in columns.items()}


def schema_of(columns: Mapping[str, Any]) -> Schema:
    """What ``bank.json`` says of each column; nothing of the text."""
    return {name: {} if name == TEXT else entry_of(value) for name, value in columns.items()}


def check_schema(first: Schema, now: Schema, keys: Sequence[Key]) -> None:
    """Raise InconsistentOutputError naming signal and key when a batch is not like the first."""
    where = f"in the batch that starts at key {keys[0]!r}"
    if set(first) != set(now):
        raise InconsistentOutputError(
            f"The teacher gave {', '.join(sorted(now))} {where}, but {', '.join(sorted(first))} before; "
            "it must give the same signals for every batch."
        )
    for name, entry in first.items():
        if set(entry) != set(now[name]):
            raise InconsistentOutputError(
                f"The teacher's {name} are {told(now[name])} {where}, but {told(entry)} before; make it give a "
                "Ragged for every batch, or for none."
            )
        for part in entry:
            if entry[part] != now[name][part]:
                what = part.replace("teacher_", "").replace("n_classes", "number of classes")
                raise InconsistentOutputError(
                    f"The teacher's {name} have {what} {now[name][part]} {where}, but {entry[part]} before; "
                    f"make it give one {what} for every batch (pad, pool or cast)."
                )


def to_stored(columns: Mapping[str, Any], dtype: torch.dtype, keys: Sequence[Key]) -> dict[str, Any]:
    """Columns in the stored dtype; whole numbers in rows of different lengths keep theirs.

    Raises:
        NonFiniteError: NaN, Inf or a value beyond ``dtype``, with the signal and the keys.
        BankError: ``log_probs`` that are no log-probabilities, a TopK that is none.
    """
    return {
        name: list(value) if name == TEXT else _number_stored(name, value, dtype, keys)
        for name, value in columns.items()
    }


def _number_stored(name: str, column: Signal, dtype: torch.dtype, keys: Sequence[Key]) -> Signal:
    numbers = parts_of(column)
    check_finite(name, column, numbers[""], keys, "NaN or Inf", _mend(name))
    if n_classes_of(column) is not None:
        check_finite(
            name, column, numbers[".rest"], keys, "a rest that is NaN or Inf", f"Log 0 is {LOG_ZERO:g}."
        )
        check_top_k(name, column, keys)
    elif name == "log_probs":
        check_log_probs(column, numbers[""], keys)
    if not numbers[""].is_floating_point() and (isinstance(column, Ragged) or name == "box_labels"):
        return column
    stored = mapped(column, lambda value: value.to(dtype))
    limit = torch.finfo(dtype).max
    why = f"values beyond {str(dtype).removeprefix('torch.')} (largest {limit:.4g})"
    mend = "Store float32 or bfloat16, or scale the signal."
    check_finite(name, column, parts_of(stored)[""], keys, why, mend)
    return stored


def _mend(name: str) -> str:
    if name in ("log_probs", "tokens"):
        return "Clamp probabilities away from 0 before the logarithm."
    return "Look at these inputs, or leave them out."


def check_labels(labels: Sequence[int], n_classes: int | None, keys: Sequence[Key]) -> None:
    """Raise DataError naming the keys whose label is neither -100 nor a class number below ``n_classes``."""
    limit = float("inf") if n_classes is None else n_classes
    wrong = [key for key, label in zip(keys, labels) if label != -100 and not 0 <= label < limit]
    if wrong:
        allowed = "from 0" if n_classes is None else f"below {n_classes}"
        raise DataError(
            f"Labels must be -100 (unknown) or class numbers {allowed}; they are not for the keys {some(wrong)}."
        )
