"""How a signal lies in a shard: one tensor, or several beside each other for rows of different lengths and likeliest k.

``NAME`` alone is ``[n, ...]``. Of a Ragged it is ``[T, ...]``, and ``NAME.ends`` ``[n]`` says where each row ends; of a
TopK it holds the log-probabilities, with ``NAME.ids`` (int32) and ``NAME.rest`` beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.manifest import MANIFEST_FILE
from limbeck.banks.shards import as_numpy, corrupt
from limbeck.errors import BankError
from limbeck.signals.ragged import Ragged, Signal, joined, n_classes_of, of_parts, parts_of, row_shape

Entry = Mapping[str, Any]  # a column in ``bank.json``
Piece = tuple[int, np.ndarray]  # a shard, and which of the rows asked for lie in it
_ENDS, _IDS, _REST = ".ends", ".ids", ".rest"


def entry_of(value: Signal) -> dict[str, Any]:
    """What ``bank.json`` says of a column, by name: the shape of a row (of a Ragged: of an element), the teacher's
    dtype, and ``ragged`` or ``n_classes`` (of a TopK) where they apply."""
    numbers = parts_of(value)[""]
    teacher_dtype = str(numbers.dtype).removeprefix("torch.")
    n_classes = n_classes_of(value)
    entry: dict[str, Any] = {} if n_classes is None else {"n_classes": n_classes}
    entry |= {"ragged": True} if isinstance(value, Ragged) else {}
    return entry | {"shape": list(row_shape(value)), "teacher_dtype": teacher_dtype}


def told(entry: Entry) -> str:
    """The shape of a column for people: ``[512]``, ``[*, 512]``, ``20 of 50,000``, ``[*] of 20 of 50,000``."""
    shape = [*(["*"] if entry.get("ragged") else []), *entry.get("shape", ())]
    if "n_classes" in entry:
        *outer, k = shape
        return (
            f"{_listed(outer)} of {k} of {entry['n_classes']:,}"
            if outer
            else f"{k} of {entry['n_classes']:,}"
        )
    return _listed(shape) if shape else ""


def _listed(shape: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def width_of(entry: Entry) -> int | None:
    """Size of the last axis, of a TopK the number of classes; None for rows of single numbers, and for texts."""
    return entry.get("n_classes") or (entry["shape"][-1] if entry.get("shape") else None)


def suffixes(entry: Entry) -> tuple[str, ...]:
    """What is put behind a column's name for each tensor of it."""
    top = (_IDS, _REST) if "n_classes" in entry else ()
    return ("", *top, *([_ENDS] if entry.get("ragged") else []))


def written(name: str, value: Signal) -> dict[str, Tensor]:
    """The tensors of a column as they are written."""
    parts = parts_of(value)
    return {name + suffix: v.int() if suffix == _IDS else v for suffix, v in parts.items()}


def check_names(columns: Mapping[str, Any]) -> None:
    """BankError where a tensor of one column has the name of another column."""
    for name, value in columns.items():
        if hasattr(value, "map") and (clash := {name + s for s in parts_of(value)} - {name} & set(columns)):
            raise BankError(
                f"The signals {name!r} and {sorted(clash)[0]!r} cannot lie in one bank; rename the layer of the second."
            )


def check_part(path: Path, name: str, entry: Entry, tensors: Mapping[str, Tensor], n_rows: int) -> None:
    """CorruptShardError unless the tensors of a column fit each other; looks at the ends of rows alone."""
    shape = tuple(tensors[name].shape)
    if not shape or shape[1:] != tuple(entry["shape"]):
        raise corrupt(path, f"{name!r} is {list(shape)} where {MANIFEST_FILE} says rows of {entry['shape']}")
    n_values = shape[0]
    if entry.get("ragged"):
        ends = tensors[name + _ENDS].numpy()
        steps = np.diff(ends, prepend=0)
        if len(ends) != n_rows or (steps < 0).any() or (ends[-1] if len(ends) else 0) != n_values:
            raise corrupt(
                path, f"the ends of the {n_rows} rows of {name!r} do not rise to its {n_values} values"
            )
    elif n_values != n_rows:
        raise corrupt(path, f"{name!r} has {n_values} rows instead of {n_rows}")
    if "n_classes" in entry:
        shape = tensors[name].shape
        if tensors[name + _IDS].shape != shape or tensors[name + _REST].shape != shape[:-1]:
            raise corrupt(path, f"the class numbers of {name!r} do not belong to its log-probabilities")


def check_ids(path: Path, name: str, entry: Entry, tensors: Mapping[str, Tensor]) -> None:
    """CorruptShardError unless all class numbers of a TopK are below its number of classes; reads them all."""
    ids = tensors[name + _IDS] if "n_classes" in entry else None
    if ids is not None and ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < entry["n_classes"]):
        raise corrupt(path, f"class numbers of {name!r} are not below {entry['n_classes']}")


# ---- reading ---------------------------------------------------------------------------------------------------

Arrays = Callable[[int], Mapping[str, np.ndarray]]  # the mapped tensors of a shard
Tensors = Callable[[int], Mapping[str, Tensor]]


def take(
    name: str, entry: Entry, pieces: Sequence[Piece], local: np.ndarray, tensors: Tensors, arrays: Arrays
) -> Signal:
    """Copies of the given rows of a column.

    Args:
        pieces: shard by shard, the places among the rows asked for.    local: ``[n]``, their numbers in their shards.
    """
    first = tensors(pieces[0][0] if pieces else 0)
    parts: dict[str, Tensor] = {}
    stops = _stops(name, pieces, local, arrays) if entry.get("ragged") else None
    for suffix in suffixes(entry):
        if suffix == _ENDS:
            continue
        like = first[name + suffix]
        total = len(local) if stops is None else int(stops[1][-1]) if len(local) else 0
        parts[suffix] = torch.empty((total, *like.shape[1:]), dtype=like.dtype)
        target = as_numpy(parts[suffix])
        for number, where in pieces:
            source = arrays(number)[name + suffix]
            if stops is None:
                target[where] = source.take(local[where], axis=0)
            else:
                _copy_rows(source, target, *(bounds[where] for bounds in (*stops[2:], *stops[:2])))
    if stops is not None:
        parts[_ENDS] = torch.from_numpy(stops[1])
    return of_parts(parts, entry.get("n_classes"))


def _stops(name: str, pieces: Sequence[Piece], local: np.ndarray, arrays: Arrays) -> tuple[np.ndarray, ...]:
    """First and last places of each row in the result, then in its shard, ``[n]`` each."""
    begins, ends = np.zeros(len(local), np.int64), np.zeros(len(local), np.int64)
    for number, where in pieces:
        all_ends, rows = arrays(number)[name + _ENDS], local[where]
        ends[where] = all_ends[rows]
        begins[where] = np.where(rows > 0, all_ends[np.maximum(rows - 1, 0)], 0)
    placed = np.cumsum(ends - begins)
    return placed - (ends - begins), placed, begins, ends


def _copy_rows(source: np.ndarray, target: np.ndarray, *bounds: np.ndarray) -> None:
    # rows are runs of memory, so a copy for each beats an index over all elements
    for begin, end, first, last in zip(*(b.tolist() for b in bounds)):
        target[first:last] = source[begin:end]


def run(name: str, entry: Entry, spans: Sequence[tuple[int, int, int]], tensors: Tensors) -> Signal:
    """Consecutive rows of a column, ``(shard, first, last)`` for each shard; may share memory with the files."""
    cuts = []
    for number, start, stop in spans:
        found, ends = tensors(number), None
        if entry.get("ragged"):
            all_ends = found[name + _ENDS]
            begin = int(all_ends[start - 1]) if start else 0
            ends = all_ends[start:stop] - begin
            start, stop = begin, begin + (int(ends[-1]) if len(ends) else 0)
        parts = {suffix: found[name + suffix][start:stop] for suffix in suffixes(entry) if suffix != _ENDS}
        cuts.append(of_parts(parts | ({} if ends is None else {_ENDS: ends}), entry.get("n_classes")))
    return cuts[0] if len(cuts) == 1 else joined(cuts)
