"""Which column of a source is what. No torch here: a slip is told before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.data.own.sides.side import Side
from limbeck.data.own.sides.sources import Opened
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest

TEXT_COLUMNS = ("text", "text_pair", "choices")


@dataclass(frozen=True)
class Columns:
    """Columns that are not inputs; None for what is not there."""

    key: str | None
    label: str | None
    group: str | None
    split: str | None

    @property
    def all(self) -> list[str]:
        return [name for name in (self.key, self.label, self.group, self.split) if name is not None]


def columns_of(side: Side, source: Opened, where: str) -> Columns:
    """The columns that were asked for, else those of the usual names.

    Args:
        where: what the side is called in messages, ``student``.

    Raises: UnknownNameError, ConfigError.
    """
    if side.label is True:
        raise ConfigError(f"{where}.label is the name of a column, or false for none; it is true.")
    asked = {"key": side.key, "label": side.label or None, "group": side.group, "split": side.split}
    found: dict[str, str | None] = {}
    for role, name in asked.items():
        if name is not None:
            found[role] = check_column(name, f"{where}.{role}", source)
        else:
            usual: tuple[str, ...] = (role,)
            if role == "key":
                usual = ("path",) if source.is_folder else ("key", "id")
            found[role] = next((n for n in usual if n in source.table.columns), None)
    return Columns(**found | ({"label": None} if side.label is False else {}))


def check_column(name: Any, what: str, source: Opened) -> str:
    """The name, if the source has that column."""
    if name not in source.table.columns:
        raise UnknownNameError(
            f"{source.name} has no column {name!r} for {what}; {nearest(str(name), source.table.columns)}"
        )
    return str(name)


def text_columns(asked: Any, source: Opened, where: str) -> dict[str, str | tuple[str, ...]]:
    """Which columns are ``text``, ``text_pair`` and ``choices``; UnknownNameError, ConfigError, DataError."""
    if source.is_folder:
        raise DataError(
            f"{source.name} is a folder of files, and texts are read from a table; name a .csv, .jsonl or .parquet."
        )
    if asked is None:
        asked = {name: name for name in TEXT_COLUMNS if name in source.table.columns}
        if not asked:
            raise UnknownNameError(
                f"{source.name} has no column 'text'; say where the text is: {where}.input: COLUMN (it has "
                f"{', '.join(source.table.columns)})."
            )
    if isinstance(asked, str):
        asked = {"text": asked}
    if not isinstance(asked, Mapping):
        asked = dict(zip(TEXT_COLUMNS[:2], asked, strict=False)) if len(asked) <= 2 else {"text": asked}
    found: dict[str, str | tuple[str, ...]] = {}
    for role, name in asked.items():
        if role not in TEXT_COLUMNS:
            raise UnknownNameError(f"{where}.input has no {role!r}; {nearest(str(role), TEXT_COLUMNS)}")
        several = isinstance(name, (list, tuple))
        if several and (role != "choices" or len(name) < 2):
            raise ConfigError(
                f"{where}.input.{role}={name!r}: give one column, or for choices at least two, one a choice."
            )
        for one in name if several else [name]:
            check_column(one, f"{where}.input", source)
        found[role] = tuple(name) if several else str(name)
    return found


def number_columns(asked: Any, source: Opened, taken: Sequence[str], where: str) -> list[str]:
    """The columns of numbers, by default all but those that are ``taken``; UnknownNameError, DataError."""
    if source.is_folder:
        raise DataError(
            f"{source.name} is a folder of files, and rows of numbers are read from a table; name a .csv or .parquet."
        )
    if asked is None:
        names = [name for name in source.table.columns if name not in taken]
    else:
        names = [
            check_column(n, f"{where}.input", source) for n in ([asked] if isinstance(asked, str) else asked)
        ]
    if not names:
        raise DataError(
            f"{source.name} has no columns of numbers beside keys and labels; name {where}.input."
        )
    return names


def media_column(side: Side, source: Opened, where: str) -> str:
    """The column of files, pictures, sounds or series; UnknownNameError, ConfigError."""
    usual = ("file", str(side.modality), "path")
    if side.input is not None and not isinstance(side.input, str):
        raise ConfigError(f"{where}.input={side.input!r}: give the one column of files.")
    if side.input is not None:
        return check_column(side.input, f"{where}.input", source)
    for name in usual:
        if name in source.table.columns:
            return name
    raise UnknownNameError(
        f"{source.name} has no column 'file'; say where the files are: {where}.input: COLUMN (it has "
        f"{', '.join(source.table.columns)})."
    )


def check_columns(side: Side, source: Opened, where: str) -> None:
    """Refuse a column that the source does not have: of keys and labels, or of an input.

    Raises: UnknownNameError, ConfigError, DataError, as they are raised when the rows are read.
    """
    taken = columns_of(side, source, where).all
    parts = {f"{where}.inputs.{name}": part for name, part in (side.inputs or {}).items()} or {where: side}
    for place, part in parts.items():
        if part.modality == "text" and side.inputs:
            check_column(part.input, f"{place}.input", source)
        elif part.modality == "text":
            text_columns(part.input, source, place)
        elif part.modality == "table":
            number_columns(part.input, source, [] if side.inputs else taken, place)
        elif part.modality is not None:
            media_column(part, source, place)
