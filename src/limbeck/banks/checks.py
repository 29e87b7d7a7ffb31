"""What a teacher said, looked at before it is stored: numbers, predictions, boxes, and rows that belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import BankError, NonFiniteError, some
from limbeck.signals.key import Key
from limbeck.signals.output import BOXES
from limbeck.signals.ragged import Ragged, Signal, n_classes_of, row_shape
from limbeck.signals.top_k import TopK

LOG_SUM_TOLERANCE = 0.05  # bfloat16 keeps 3 digits


def check_layouts(columns: Mapping[str, Any]) -> None:
    """BankError for a layout that a signal cannot have."""
    if "tokens" in columns and n_classes_of(columns["tokens"]) is None:
        raise BankError(
            "The teacher's tokens must be a TopK or a Ragged of it; give whole predictions as logits."
        )
    for name, value in columns.items():
        if name not in ("tokens", "log_probs") and hasattr(value, "map") and n_classes_of(value) is not None:
            raise BankError(
                f"The teacher's {name} cannot be a TopK; give its likeliest classes as log_probs."
            )


def check_boxes(columns: Mapping[str, Any], keys: Sequence[Key]) -> None:
    """BankError unless boxes are four numbers each, with a label and a score for every one."""
    boxes = columns.get("boxes")
    if boxes is None:
        if lone := [name for name in BOXES if name in columns]:
            raise BankError(f"The teacher gives {lone[0]} without boxes.")
        return
    if row_shape(boxes)[-1:] != (4,):
        raise BankError(
            f"The teacher's boxes are x0, y0, x1, y1, not {list(row_shape(boxes)[-1:])} numbers each."
        )
    for name in BOXES[1:]:
        if name in columns and not torch.equal(_lengths(columns[name]), _lengths(boxes)):
            wrong = _lengths(columns[name]) != _lengths(boxes)
            raise BankError(
                f"The teacher's {name} need one for each box; they do not for the keys "
                f"{some(key for key, is_wrong in zip(keys, wrong.tolist()) if is_wrong)}."
            )


def _lengths(value: Signal) -> Tensor:
    if isinstance(value, Ragged):
        return value.lengths.cpu()
    return torch.full((len(value),), value.shape[1] if value.dim() > 1 else -1)


def check_finite(name: str, column: Signal, value: Tensor, keys: Sequence[Key], why: str, mend: str) -> None:
    """NonFiniteError with the keys whose numbers ``value``, laid out as ``column``, are not finite."""
    # the sum of absolute values is finite only if each is, and needs no boolean copy; float64 cannot overflow
    # here
    if not value.is_floating_point() or torch.isfinite(value.abs().sum(dtype=torch.float64)):
        return
    wrong = bad_keys(column, ~torch.isfinite(value), keys)
    raise NonFiniteError(f"The teacher's {name} hold {why} for {len(wrong)} keys: {some(wrong)}. {mend}")


def check_log_probs(column: Signal, value: Tensor, keys: Sequence[Key]) -> None:
    """BankError where rows ``[..., C]`` are no log-probabilities."""
    if not value.numel():
        return
    off = torch.logsumexp(value.float(), dim=-1).abs() > LOG_SUM_TOLERANCE
    if off.any():
        wrong = bad_keys(column, off, keys)
        raise BankError(
            f"The teacher's log_probs do not sum to probability 1 for {len(wrong)} keys: {some(wrong)}; "
            "give raw scores as logits, and probabilities through their logarithm."
        )


def check_top_k(name: str, column: Signal, keys: Sequence[Key]) -> None:
    """BankError naming keys whose class numbers are out of range or come twice, or whose mass is not 1."""
    said = column.values if isinstance(column, Ragged) else column
    assert isinstance(said, TopK)
    if not said.ids.numel():
        return
    outside = (said.ids < 0) | (said.ids >= said.n_classes)
    ordered = said.ids.sort(dim=-1).values
    twice = ordered[..., 1:] == ordered[..., :-1]
    mass = said.log_probs.double().exp().sum(-1)
    whole = mass + said.rest.double().exp()
    checks = (
        (outside, f"class numbers that are not below {said.n_classes}"),
        (twice, "a class twice"),
        (mass > 1 + LOG_SUM_TOLERANCE, "more probability than 1, which leaves a negative mass for the rest"),
        ((whole - 1).abs() > LOG_SUM_TOLERANCE, "a mass, with the rest, that is not 1"),
    )
    for is_wrong, what in checks:
        if is_wrong.any():
            wrong = bad_keys(column, is_wrong, keys)
            raise BankError(
                f"The teacher's {name} hold {what} for {len(wrong)} keys: {some(wrong)}; "
                "make them with TopK.of(logits, k)."
            )


def bad_keys(column: Signal, is_bad: Tensor, keys: Sequence[Key]) -> list[Key]:
    """Keys of the rows with anything in ``is_bad``, ``[n, ...]``; of a Ragged ``[T, ...]``."""
    bad = is_bad.flatten(1).any(1) if is_bad.dim() > 1 else is_bad
    if isinstance(column, Ragged):
        owner = torch.repeat_interleave(torch.arange(len(column)), column.lengths)
        return [keys[i] for i in owner[bad].unique().tolist()]
    return [key for key, is_wrong in zip(keys, bad.tolist()) if is_wrong]
