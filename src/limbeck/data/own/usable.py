"""The rows of a table that can be used, and why the others cannot, found in one pass before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from limbeck.data.files.media import is_called_like_media, is_link, to_picture, to_samples
from limbeck.data.files.table_files import Chunk, TableFile
from limbeck.data.own.sides.sources import place_of
from limbeck.errors import DataError
from limbeck.signals.cells import is_nothing, keys_of, name_of
from limbeck.signals.content import media_suffix

_ROWS = 1024  # read at once


def usable(
    table: TableFile, key: str | None, columns: Sequence[str] | None
) -> tuple[TableFile, dict[str, str]]:
    """The table without the rows that cannot be read, have no key or one that came before, or name a picture or sound
    that cannot be opened; and these rows, by place, with the reason.

    Args:
        columns: that a teacher is asked about; None = all.
    """
    asked = tuple(table.columns if columns is None else columns)
    wanted = list(dict.fromkeys([*(() if key is None else (key,)), *asked]))
    bad: dict[int, str] = {}
    seen: dict[Any, int] = {}
    for chunk in table.chunks(wanted, _ROWS):
        bad |= chunk.bad
        for place, row in zip(chunk.places, chunk.records(), strict=True):
            try:
                if key is not None:
                    _check_key(row[key], key, table, place, seen)
                for name in asked:
                    _check_file(row[name])
            except DataError as error:
                bad[place] = str(error).partition(";")[0].rstrip(".")

    def chunks(names: Sequence[str], n: int) -> Iterator[Chunk]:
        return (_without(chunk, bad) for chunk in table.chunks(names, n))

    skipped = {place_of(table, place): reason for place, reason in sorted(bad.items())}
    return (replace(table, chunks=chunks, kept=()) if bad else table), skipped


def _check_key(cell: Any, column: str, table: TableFile, place: int, seen: dict[Any, int]) -> None:
    if is_nothing(cell) or not name_of(cell):
        raise DataError(f"has no key in column {column!r}")
    found = keys_of([cell], typed=table.typed)[0]
    if seen.setdefault(found, place) != place:
        raise DataError(f"has the key {found!r} of {place_of(table, seen[found])} again")


def _check_file(cell: Any) -> None:
    """A text that is written like the path of a picture or sound must lead to one; links are for the teacher."""
    if not isinstance(cell, str) or is_link(cell) or not is_called_like_media(cell):
        return
    if media_suffix(cell.strip()) == "audio":
        to_samples(cell)
    else:
        to_picture(cell)


def _without(chunk: Chunk, bad: dict[int, str]) -> Chunk:
    keep = [i for i, place in enumerate(chunk.places) if place not in bad]
    if len(keep) == len(chunk.places):
        return replace(chunk, bad={})
    places = [chunk.places[i] for i in keep]
    if isinstance(chunk.content, dict):
        content: Any = {
            name: [column[i] for i in keep] if isinstance(column, list) else column.take(keep)
            for name, column in chunk.content.items()
        }
    else:
        content = [chunk.content[i] for i in keep]
    return replace(chunk, places=places, content=content, bad={})
