"""The vectors of an embeddings answer, in the forms in which servers send them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.teachers.api.questions import BadAnswer

_HOLDERS = ("data", "embeddings", "embedding", "results")
_INNER = ("embedding", "embeddings", "values", "vector", "float", "dense", "base64")
_UNREADABLE = "embeddings that cannot be read"


def vectors_in(reply: Any, n: int) -> list[np.ndarray | str]:
    """``n`` vectors, float32 ``[D]``, in the order of the texts; in place of one that is none, what is wrong with it.

    Entries come in any order with an ``index``, or in order without (or with one index for all); a vector comes as
    numbers, as base64 of little-endian float32, as JSON in a text, or nested in lists of one.

    Raises: BadAnswer: no vectors, or not as many as there are texts, or in no order that one could know.
    """
    entries = _entries(reply)
    if not entries:
        raise BadAnswer("no embeddings")
    if n == 1 and len(entries) > 1 and all(_is_number(value) for value in entries):
        entries = [entries]  # the vector itself
    if len(entries) != n:
        raise BadAnswer(f"{len(entries)} embeddings for {n} texts")
    vectors = [_vector(entry) for entry in entries]
    ordered: list[np.ndarray | str] = [_UNREADABLE] * n
    for place, vector in zip(_places(entries), vectors, strict=True):
        ordered[place] = vector
    return ordered


def _entries(reply: Any) -> Sequence[Any]:
    for _ in range(4):
        if isinstance(reply, list):
            return reply
        if not isinstance(reply, Mapping):
            break
        held = next((reply[name] for name in _HOLDERS if reply.get(name) is not None), None)
        reply = (
            next((reply[name] for name in _INNER if reply.get(name) is not None), None)
            if held is None
            else held
        )
    return []


def _places(entries: Sequence[Any]) -> list[int]:
    """Where each entry belongs."""
    n = len(entries)
    told = [entry.get("index") if isinstance(entry, Mapping) else None for entry in entries]
    if n == 1 or len(set(map(str, told))) == 1:  # none, or the same for all, which some servers send
        return list(range(n))
    try:
        places = [at if value is None else int(value) for at, value in enumerate(told)]
    except (TypeError, ValueError, OverflowError):
        raise BadAnswer(_UNREADABLE) from None
    if sorted(places) == list(range(1, n + 1)):
        places = [place - 1 for place in places]
    if sorted(places) != list(range(n)):
        raise BadAnswer("embeddings whose indexes fit no order")
    return places


def _vector(entry: Any) -> np.ndarray | str:
    value = entry
    try:
        for _ in range(4):
            if isinstance(value, Mapping):
                value = next((value[name] for name in _INNER if value.get(name) is not None), None)
            elif isinstance(value, str):
                value = _decoded(value)
            elif isinstance(value, list) and len(value) == 1 and not _is_number(value[0]):
                value = value[0]
        with np.errstate(over="ignore"):
            vector = np.asarray(value, "<f4")
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _UNREADABLE
    if vector.ndim == 2 and len(vector) > 1:
        return "a vector for every token (let the server pool them)"
    if vector.ndim != 1 or not vector.size:
        return "an empty embedding"
    return vector if np.isfinite(vector).all() else "an embedding with NaN or Inf"


def _decoded(text: str) -> Any:
    """Numbers of a text: JSON, or base64 of little-endian float32. Raises: ValueError."""
    if text.lstrip().startswith("["):
        return json.loads(text)
    plain = "".join(text.rpartition(",")[2].split()).translate({ord("-"): "+", ord("_"): "/"})
    return np.frombuffer(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True), "<f4")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
