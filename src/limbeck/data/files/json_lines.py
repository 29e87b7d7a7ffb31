"""JSON Lines, and JSON files that hold one list of objects, as rows: streamed, with the place of what is no object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.data.files.lines import check_text, text_lines
from limbeck.errors import DataError

_KIND = "JSON Lines"
_BLANKS = re.compile(r"[ \t\n\r]*")
_BLOCK = 2**20  # characters of a list read at once


class Objects(NamedTuple):
    """Some rows of a file, blank lines left out.

    Args:
        places: lines from 1 (of a list, rows from 0).    found: the objects.
        bad: place to why what is there cannot be used.
    """

    places: Sequence[int]
    found: list[dict[str, Any]]
    bad: dict[int, str]


def is_list(path: Path) -> bool:
    """Whether the file holds one list, in place of an object a line."""
    check_text(path, _KIND)
    with text_lines(path, _KIND) as lines:
        first = next((line for line in lines if not line.isspace()), "")
    return first.lstrip().startswith("[")


def object_blocks(path: Path, n: int) -> Iterator[Objects]:
    """The objects of a file, at most ``n`` at a time.

    Raises: DataError naming the file for a list that is broken, and for text that is not in UTF-8.
    """
    return _of_list(path, n) if is_list(path) else _of_lines(path, n)


def _of_lines(path: Path, n: int) -> Iterator[Objects]:
    with text_lines(path, _KIND) as lines:
        first = 1
        while block := list(islice(lines, n)):
            places = range(first, first + len(block))
            first += len(block)
            found = _plain(block)
            yield Objects(places, found, {}) if found is not None else _careful(places, block)


def _plain(lines: list[str]) -> list[dict[str, Any]] | None:
    """The objects of lines that are all as they should be, parsed in one go; ``None`` where one may not be."""
    text = "".join(lines)
    if text.count("}\n") + (not text.endswith("\n") and text.endswith("}")) != len(lines) or "\\u" in text:
        return None
    try:
        found = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return None
    # a name for each value: none is there twice, and no object within another
    if (
        set(map(type, found)) != {dict}
        or text.count('":') != sum(map(len, found))
        or len(found) != len(lines)
    ):
        return None
    return found


def _careful(places: Sequence[int], lines: list[str]) -> Objects:
    decode = json.JSONDecoder(object_pairs_hook=_object).decode
    kept, found, bad = [], [], {}
    for place, line in zip(places, lines):
        if line.isspace():
            continue
        try:
            value = decode(line)
            reason = _fault(value, line)
        except json.JSONDecodeError as error:
            reason = f"is no JSON ({error.msg})"
        except (ValueError, RecursionError) as error:
            reason = _why(error)
        if reason is not None:
            bad[place] = reason
        else:
            kept.append(place)
            found.append(value)
    return Objects(kept, found, bad)


def _of_list(path: Path, n: int) -> Iterator[Objects]:
    rows = _elements(path)
    while block := list(islice(rows, n)):
        bad = {place: reason for place, _, reason in block if reason is not None}
        good = [(place, value) for place, value, reason in block if reason is None]
        yield Objects([place for place, _ in good], [value for _, value in good], bad)


def _elements(path: Path) -> Iterator[tuple[int, Any, str | None]]:
    """The elements of one list, which may be spread over lines in any way, and what is wrong with each."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    text, at, place = "", 0, -1  # -1: before the bracket that opens the list
    with text_lines(path, _KIND) as lines:
        while True:
            at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]
            if at < len(text) and text[at] in "[,]" and (place < 0) == (text[at] == "["):
                if text[at] == "]":
                    _refuse_more(path, text[at + 1 :], lines)
                    return
                at, place = at + 1, place + (place < 0)
                continue
            try:
                value, end = decoder.raw_decode(text, at)
                if end == len(text):  # a number may go on in the next block
                    raise json.JSONDecodeError("the list is not closed", text, at)
                yield place, value, _fault(value, text[at:end])
                at, place = end, place + 1
            except json.JSONDecodeError as error:
                more = "".join(lines.readlines(_BLOCK))  # type: ignore[attr-defined]
                if not more:
                    raise DataError(
                        f"{path} cannot be read as a list of JSON objects: row {max(place, 0)} goes wrong "
                        f"({error.msg}); mend it."
                    ) from error
                text, at = text[at:] + more, 0
            except (ValueError, RecursionError) as error:
                raise DataError(f"row {place} of {path} {_why(error)}; mend it.") from error


def _refuse_more(path: Path, rest: str, lines: Iterator[str]) -> None:
    """Raise DataError for a list that is not all of its file: rows in a second one would be lost."""
    if rest.strip() or any(line.strip() for line in lines):
        raise DataError(
            f"{path} goes on behind its list of JSON objects; put all of them into one list, or one object on a line."
        )


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


def _fault(value: Any, text: str) -> str | None:
    """Why a value is no row: it is no object, or some of its characters are not whole."""
    if not isinstance(value, dict):
        return "is no JSON object"
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "holds half of a character (a surrogate without its other half)"
    return None
