"""From the columns of a batch to the tensors of one forward: which columns a tower reads, in which groups of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError, UnreadableRowsError, nearest
from limbeck.signals import ragged
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Signal
from limbeck.teachers.hf.preprocessing import Preprocessor
from limbeck.teachers.hf.towers import KIND_OF_ARGUMENT, arguments_of, kinds_of
from limbeck.teachers.raw import is_path, kind_of

# Name of a column to its kind (None: neither text, image nor audio) and its rows.
Columns = dict[str, tuple[str | None, Any]]


@dataclass(frozen=True)
class Prepared:
    """Rows before the model.

    Args:
        tower: that reads them.    groups: places of the rows of each forward.
        parts: columns of each group, and its pictures as the model takes them (``None``: not made ahead, or none).
    """

    tower: str
    groups: Sequence[Sequence[int]]
    parts: Sequence[tuple[Columns, Mapping[str, Tensor] | None]]


def columns_read(inputs: Mapping[str, Any], model: Any, able: Collection[str], tower: str | None) -> Columns:
    """The columns with their kinds; of a named tower only its own.

    Args:
        able: kinds that the model reads.
    """
    known = arguments_of(model)
    columns: Columns = {}
    for name, value in inputs.items():
        if isinstance(value, Tensor) and (kind := _of_raw_values(name, value, known, able)):
            columns[name] = kind, list(map(str, value.tolist())) if kind == "text" else list(value)
        elif isinstance(value, Tensor):
            columns[name] = _tensor_kind(name, value, inputs, known, able), value
        else:
            rows = value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else list(value)
            columns[name] = kind_of(name, rows, able), rows
    if not {kind for kind, _ in columns.values()} & set(able):  # it reads no text: then texts are paths
        for name, (kind, rows) in columns.items():
            if kind == "text" and any(map(is_path, rows)):
                columns[name] = kind_of(name, rows, able, are_paths=True), rows
    if tower is None:
        return columns
    kept = {name: found for name, found in columns.items() if found[0] in (None, *kinds_of(tower))}
    if not kept:
        raise DataError(
            f"None of the columns {', '.join(map(repr, columns))} holds what the {tower} tower reads; name others "
            "with inputs=."
        )
    return kept


def _of_raw_values(name: str, value: Tensor, known: Collection[str], able: Collection[str]) -> str | None:
    """What a tensor holds that is no model's input: pixels as they come from files, samples of 16 or 32 bit, or texts
    that are all numbers."""
    if name in known or name in KIND_OF_ARGUMENT:
        return None
    if value.dim() == 1 and "text" in able:
        return "text"
    if value.dtype in (torch.uint8, torch.uint16) and value.dim() in (3, 4) and "image" in able:
        return "image"
    is_sound = value.dtype in (torch.int16, torch.int32, torch.uint8) and value.dim() in (2, 3)
    return "audio" if is_sound and "audio" in able and "text" not in able else None


def _tensor_kind(
    name: str, value: Tensor, inputs: Mapping[str, Any], known: Collection[str], able: Collection[str]
) -> str | None:
    if name == "attention_mask":  # of the input that it comes with
        return next((KIND_OF_ARGUMENT[other] for other in inputs if other in KIND_OF_ARGUMENT), None)
    if name in KIND_OF_ARGUMENT:
        return KIND_OF_ARGUMENT[name]
    if name in known:
        return None
    if len(able) == 1:
        return next(iter(able))
    if not value.is_floating_point() and "text" in able:
        return "text"
    return "image" if "image" in able and (value.dim() == 4 or "audio" not in able) else "audio"


def named_tensors(
    source: str,
    model: Any,
    takes: Collection[str],
    columns: Columns,
    preprocess: Preprocessor,
    pictures: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Inputs under the names of the model's arguments ``takes``; a single tensor may have any name.

    Args:
        pictures: what :func:`pictures_of` made of the same columns before.

    Raises: DataError for names that are no arguments, and as the preprocessor.
    """
    named: dict[str, Tensor] = {}
    for kind in KIND_OF_ARGUMENT.values():
        raw = _raw(columns, kind)
        if raw and not any(KIND_OF_ARGUMENT.get(name) == kind for name in named):
            made = pictures if kind == "image" and pictures is not None else preprocess(kind, raw)
            # a tokenizer may give more than the model takes
            named |= {name: v for name, v in made.items() if name in takes}
    given = {name: (kind, rows) for name, (kind, rows) in columns.items() if isinstance(rows, Tensor)}
    unknown = [name for name in given if name not in takes]
    if unknown and len(given) == 1:
        of, value = given[unknown[0]]
        main = model.main_input_name
        options = [n for n, k in KIND_OF_ARGUMENT.items() if k == of and n in takes]
        return named | {main if main in options or not options else options[0]: value}
    if unknown:
        raise DataError(
            f"{source} has no input {unknown[0]!r}; {nearest(unknown[0], takes)} "
            "Name the columns that the teacher reads with inputs=."
        )
    return named | {name: value for name, (_, value) in given.items()}


def pictures_of(columns: Columns, preprocess: Preprocessor) -> Mapping[str, Tensor] | None:
    """The pictures among ``columns`` as the model takes them; ``None`` where there are none, or where a file behind one
    is open, which only one thread may read."""
    raw = _raw(columns, "image")
    is_open = any(getattr(value, "fp", None) is not None for rows in raw.values() for value in rows)
    return preprocess("image", raw) if raw and not is_open else None


def _raw(columns: Columns, kind: str) -> dict[str, Any]:
    """Columns of one kind that are still to be prepared."""
    return {n: rows for n, (k, rows) in columns.items() if k == kind and not isinstance(rows, Tensor)}


def row_groups(columns: Columns, size: int | None, equal_lengths: bool) -> list[list[int]]:
    """Places of the rows that are read together, the shorter ones first.

    Args:
        size: most rows in a group.    equal_lengths: only sounds of one length make a group.
    """
    raw = [rows for kind, rows in columns.values() if kind != "image" and not isinstance(rows, Tensor)]
    n = len(next(iter(columns.values()))[1])
    if not equal_lengths and (size is None or n <= size):
        return [list(range(n))]
    lengths = [sum(len(rows[i]) for rows in raw) for i in range(n)]
    order = sorted(range(n), key=lengths.__getitem__)
    groups: list[list[int]] = []
    for row in order:
        last = groups[-1] if groups else []
        fits = bool(last) and (size is None or len(last) < size)
        if fits and (not equal_lengths or lengths[last[0]] == lengths[row]):
            last.append(row)
        else:
            groups.append([row])
    return groups


def rows_of(columns: Columns, rows: Sequence[int]) -> Columns:
    """Some rows of every column."""
    picked: Columns = {}
    for name, (kind, value) in columns.items():
        chosen = value[torch.tensor(rows)] if isinstance(value, Tensor) else [value[i] for i in rows]
        picked[name] = kind, chosen
    return picked


def joined(parts: Sequence[TeacherOutput], groups: Sequence[Sequence[int]]) -> TeacherOutput:
    """The outputs of all groups, in the order of the rows."""
    if len(parts) == 1:
        return parts[0]
    places = torch.tensor([row for group in groups for row in group]).argsort()

    def together(values: Sequence[Signal]) -> Signal:
        return None if values[0] is None else ragged.rows_of(ragged.joined(values), places)

    hidden = {name: together([part.hidden_states[name] for part in parts]) for name in parts[0].hidden_states}
    return TeacherOutput(
        features=together([part.features for part in parts]),
        logits=together([part.logits for part in parts]),
        log_probs=together([part.log_probs for part in parts]),
        hidden_states=hidden,
        counts=dict(sum((Counter(part.counts) for part in parts), Counter())),
    )


@contextmanager
def numbered(rows: Sequence[int]) -> Iterator[None]:
    """Rows of a group that cannot be read have their places in the batch."""
    try:
        yield
    except UnreadableRowsError as error:
        raise UnreadableRowsError(str(error), [rows[i] for i in error.rows]) from error


def has_texts(columns: Columns) -> bool:
    """Whether texts are among the columns that are still to be prepared."""
    return any(kind == "text" and not isinstance(rows, Tensor) for kind, rows in columns.values())
