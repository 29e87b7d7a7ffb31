"""JSON Lines, and JSON files that hold one list of objects, as rows: streamed, with the place of what is no object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.decoder import WHITESPACE
from pathlib import Path
from typing import Any

from limbeck.data.files.lines import check_text, text_lines
from limbeck.errors import DataError

_KIND = "JSON Lines"
_BLOCK = 2**20  # characters read at once of a list

# The line (or, of a list, the row from 0) and its object, or a sentence's end on why it cannot be used.
Row = tuple[int, dict[str, Any] | str]


def is_list(path: Path) -> bool:
    """Whether the file holds one list, in place of an object a line."""
    check_text(path, _KIND)
    first = next((line for line in text_lines(path, _KIND) if not line.isspace()), "")
    return first.lstrip().startswith("[")


def objects(path: Path) -> Iterator[Row]:
    """The objects of a file, blank lines left out.

    Raises: DataError naming the file for a list that is broken, and for text that is not in UTF-8.
    """
    yield from _of_list(path) if is_list(path) else _of_lines(path)


def _of_lines(path: Path) -> Iterator[Row]:
    decode = json.JSONDecoder(object_pairs_hook=_object).decode
    for place, line in enumerate(text_lines(path, _KIND), start=1):
        if line.isspace():
            continue
        try:
            yield place, _checked(decode(line), line)
        except json.JSONDecodeError as error:
            yield place, f"is no JSON ({error.msg})"
        except (ValueError, RecursionError) as error:
            yield place, _why(error)


def _of_list(path: Path) -> Iterator[Row]:
    """The objects of one list, which may be spread over lines in any way."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    parts = _blocks(path)
    text, at, place = "", 0, -1  # -1: before the bracket that opens the list
    while True:
        at = WHITESPACE.match(text, at).end()  # type: ignore[union-attr]
        if at < len(text) and text[at] in "[,]" and (place < 0) == (text[at] == "["):
            if text[at] == "]":
                return
            at, place = at + 1, place + (place < 0)
            continue
        try:
            value, end = decoder.raw_decode(text, at)
            if end == len(text):  # a number may go on in the next block
                raise json.JSONDecodeError("the list is not closed", text, at)
            yield place, _checked(value, text[at:end])
            at, place = end, place + 1
        except json.JSONDecodeError as error:
            more = next(parts, "")
            if not more:
                raise DataError(
                    f"{path} cannot be read as a list of JSON objects: row {place} goes wrong ({error.msg}); mend it."
                ) from error
            text, at = text[at:] + more, 0
        except (ValueError, RecursionError) as error:
            raise DataError(f"row {place} of {path} {_why(error)}; mend it.") from error


def _blocks(path: Path) -> Iterator[str]:
    """The text of a file in pieces."""
    lines: list[str] = []
    size = 0
    for line in text_lines(path, _KIND):
        lines.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield "".join(lines)
            lines, size = [], 0
    if lines:
        yield "".join(lines)


class _Twice(ValueError):
    """A name that an object has twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(f"has the name {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def _why(error: Exception) -> str:
    """What is wrong beyond the grammar: a name twice, a number without end, lists in lists in lists."""
    if isinstance(error, _Twice):
        return str(error)
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return f"cannot be read ({str(error).partition(';')[0]})"


def _checked(value: Any, text: str) -> dict[str, Any] | str:
    """The object, if it is one and all of its characters are whole."""
    if not isinstance(value, dict):
        return "is no JSON object"
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "holds half of a character (a surrogate without its other half)"
    return value
