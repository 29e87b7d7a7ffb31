"""From what a teacher said to what is stored: names, shapes, dtypes, and numbers that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.stores import HIDDEN, TEXT
from limbeck.errors import BankError, DataError, InconsistentOutputError, NonFiniteError, some
from limbeck.signals.key import Key
from limbeck.signals.output import TeacherOutput
from limbeck.signals.tensors import tensor_of

Schema = dict[str, dict[str, Any]]
_LOG_SUM_TOLERANCE = 0.05  # bfloat16 keeps 3 digits


def columns_of(output: TeacherOutput, keys: Sequence[Key]) -> dict[str, Any]:
    """The signals of ``output``, a row for each key; BankError if it has none or another length."""
    given = {name: getattr(output, name) for name in ("features", "logits", "log_probs", TEXT)}
    given |= {HIDDEN + layer: value for layer, value in output.hidden_states.items()}
    columns: dict[str, Any] = {
        name: value if name == TEXT else tensor_of(value, f"teacher's {name}")
        for name, value in given.items()
        if value is not None
    }
    if not columns:
        raise BankError("The teacher says nothing: give at least one of features, logits, log_probs, text.")
    for name, value in columns.items():
        if len(value) != len(keys):
            raise BankError(
                f"The teacher's {name} have {len(value)} rows for {len(keys)} inputs (keys {some(keys, 3)}); "
                "it must answer one row for each input, in order."
            )
        if name != TEXT and value.dim() < 2:
            raise BankError(
                f"The teacher's {name} must be [rows, width]; they have shape {list(value.shape)}."
            )
    return {n: v if n == TEXT else v.detach().cpu() for n, v in columns.items()}


def schema_of(columns: Mapping[str, Any]) -> Schema:
    """Shape of a row and the teacher's dtype, by column; nothing for the text."""
    return {
        name: {}
        if name == TEXT
        else {"shape": list(value.shape[1:]), "teacher_dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in columns.items()
    }


def check_schema(first: Schema, now: Schema, keys: Sequence[Key]) -> None:
    """Raise InconsistentOutputError naming signal and key when a batch is not like the first."""
    where = f"in the batch that starts at key {keys[0]!r}"
    if set(first) != set(now):
        raise InconsistentOutputError(
            f"The teacher gave {', '.join(sorted(now))} {where}, but {', '.join(sorted(first))} before; "
            "it must give the same signals for every batch."
        )
    for name, entry in first.items():
        for part in entry:
            if entry[part] != now[name][part]:
                what = part.replace("teacher_", "")
                raise InconsistentOutputError(
                    f"The teacher's {name} have {what} {now[name][part]} {where}, but {entry[part]} before; "
                    f"make it give one {what} for every batch (pad, pool or cast)."
                )


def to_stored(columns: Mapping[str, Any], dtype: torch.dtype, keys: Sequence[Key]) -> dict[str, Any]:
    """Columns in the stored dtype.

    Raises:
        NonFiniteError: NaN, Inf or a value beyond ``dtype``, with the signal and the keys.
        BankError: ``log_probs`` that are no log-probabilities.
    """
    stored: dict[str, Any] = {}
    for name, value in columns.items():
        if name == TEXT:
            stored[name] = list(value)
            continue
        _check_finite(name, value, keys, "NaN or Inf", _mend(name))
        if name == "log_probs":
            _check_log_probs(value, keys)
        stored[name] = value.to(dtype)
        limit = torch.finfo(dtype).max
        kind = str(dtype).removeprefix("torch.")
        why = f"values beyond {kind} (largest {limit:.4g})"
        _check_finite(name, stored[name], keys, why, "Store float32 or bfloat16, or scale the signal.")
    return stored


def _mend(name: str) -> str:
    if name == "log_probs":
        return "Clamp probabilities away from 0 before the logarithm."
    return "Look at these inputs, or leave them out."


def _check_finite(name: str, value: Tensor, keys: Sequence[Key], why: str, mend: str) -> None:
    # the sum of absolute values is finite only if each is, and needs no boolean copy; float64 cannot overflow
    # here
    if not value.is_floating_point():
        return
    if torch.isfinite(value.abs().sum(dtype=torch.float64)):
        return
    bad = ~torch.isfinite(value).reshape(len(value), -1).all(dim=1)
    wrong = [key for key, is_bad in zip(keys, bad.tolist()) if is_bad]
    raise NonFiniteError(f"The teacher's {name} hold {why} for {len(wrong)} keys: {some(wrong)}. {mend}")


def _check_log_probs(value: Tensor, keys: Sequence[Key]) -> None:
    off = torch.logsumexp(value.float(), dim=-1).abs() > _LOG_SUM_TOLERANCE
    if off.any():
        wrong = [key for key, is_off in zip(keys, off.reshape(len(value), -1).any(1).tolist()) if is_off]
        raise BankError(
            f"The teacher's log_probs do not sum to probability 1 for {len(wrong)} keys: {some(wrong)}; "
            "give raw scores as logits, and probabilities through their logarithm."
        )


def check_labels(labels: Sequence[int], n_classes: int | None, keys: Sequence[Key]) -> None:
    """Raise DataError naming the keys whose label is neither -100 nor a class number below ``n_classes``."""
    limit = float("inf") if n_classes is None else n_classes
    wrong = [key for key, label in zip(keys, labels) if label != -100 and not 0 <= label < limit]
    if wrong:
        allowed = "from 0" if n_classes is None else f"below {n_classes}"
        raise DataError(
            f"Labels must be -100 (unknown) or class numbers {allowed}; they are not for the keys {some(wrong)}."
        )
