"""From the bytes of an answer to its JSON, also where it comes as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from limbeck.teachers.api.said.complaints import is_page

# What a stream of events may begin with: a gateway keeps the line open with comments (``: processing``).
_EVENTS = (b"data:", b"event:", b"id:", b"retry:", b":")


class NoJson(ValueError):
    """A body that holds no JSON; ``is_page``: it is a page for people."""

    def __init__(self, is_page: bool) -> None:
        super().__init__("a page" if is_page else "no JSON")
        self.is_page = is_page


def parsed(content: bytes) -> Any:
    """The JSON of a body, whatever its content type says.

    A stream of events (``data: {...}``), which some gateways send unasked, is put together as one completion.
    NaN is read as such. Raises: NoJson.
    """
    try:
        if content[:50].lstrip().startswith(_EVENTS):
            return _together(content)
        return json.loads(content)
    except (ValueError, RecursionError):
        raise NoJson(is_page(content[:500].decode("utf-8", "replace"))) from None


def _together(content: bytes) -> Any:
    """One chat completion of its pieces; the last piece where they are none of a chat. Raises: ValueError."""
    lines = [line[5:].strip() for line in content.splitlines() if line.startswith(b"data:")]
    if not lines:
        raise ValueError("no event")
    pieces = [json.loads(line) for line in lines if line not in (b"", b"[DONE]")]
    pieces = [piece for piece in pieces if isinstance(piece, Mapping)]
    choices = [first for piece in pieces if (first := _first(piece.get("choices"))) is not None]
    if not choices or any(piece.get("error") for piece in pieces):
        return next((piece for piece in pieces if piece.get("error")), pieces[-1] if pieces else {})
    told = [
        entry
        for choice in choices
        if isinstance(entry := choice.get("delta") or choice.get("message"), Mapping)
    ]
    finish = [reason for choice in choices if (reason := choice.get("finish_reason"))]
    listed = [entry for choice in choices for entry in _positions(choice)]
    parts: list[Any] = []
    for entry in told:
        said = entry.get("content")
        parts += said if isinstance(said, list) else [said] if said else []
    whole: dict[str, Any] = {
        "message": {"content": parts or None},
        "finish_reason": finish[-1] if finish else None,
    }
    if listed:
        whole["logprobs"] = {"content": listed}
    usage = [piece["usage"] for piece in pieces if piece.get("usage")]
    return {"choices": [whole], **({"usage": usage[-1]} if usage else {})}


def _first(choices: Any) -> Mapping[str, Any] | None:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def _positions(choice: Mapping[str, Any]) -> list[Any]:
    listed = choice.get("logprobs")
    content = listed.get("content") if isinstance(listed, Mapping) else None
    return content if isinstance(content, list) else []
