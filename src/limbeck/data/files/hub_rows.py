"""Rows of a ``datasets`` data set: one that cannot be decoded is named, and sounds are decoded here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from limbeck.data.files.audio import resampled
from limbeck.data.files.media import to_samples
from limbeck.errors import DataError, UnreadableRowsError, first_line


class HubRows:
    """A ``datasets.Dataset``, or one that is streamed, whose errors say which row they are about.

    Sounds that are to be decoded come as ``{"array", "sampling_rate"}``, at the rate that the column asks for: without
    torchcodec ``datasets`` decodes none.

    Args:
        key: column that names the rows; ``None`` = their number.
    """

    def __init__(self, data: Any, key: str | None) -> None:
        self.features, self.column_names = data.features, data.column_names
        self._key = key if self.column_names is None or key in self.column_names else None
        self._data, self._rates = _undecoded_sounds(data)

    def __getitem__(self, rows: slice) -> dict[str, list[Any]]:
        try:
            found = self._data[rows]
        except Exception as error:  # of the decoders of datasets, over a broken file
            raise self._unreadable(range(*rows.indices(len(self._data))), error) from error
        for name in self._rates:
            values, column = [], found[name]
            for at, value in enumerate(column, start=rows.start or 0):
                try:
                    values.append(self._sound(name, value))
                except DataError as error:
                    raise UnreadableRowsError(
                        f"The sound of the row {self._name(at)} cannot be used: {error}"
                    ) from error
            found[name] = values
        return found

    def _sound(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        samples, own = to_samples(value)
        wanted = self._rates[name]
        if wanted is None or own is None or wanted == own or not len(samples):
            return {"array": samples, "sampling_rate": own}
        return {"array": resampled(samples, own, wanted), "sampling_rate": wanted}

    def _unreadable(self, rows: range, error: Exception) -> Exception:
        """The error that names the rows; the one that was raised where each can be read by itself."""
        bad = []
        for row in rows:
            try:
                self._data[row]
            except Exception as reason:
                bad.append(row)
                error = reason
        if not bad:
            return error
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return UnreadableRowsError(
            f"The row {self._name(bad[0])}{more} cannot be decoded ({_first_line(error)}); leave it out or replace its "
            "file."
        )

    def _name(self, row: int) -> str:
        """A row by its key, or by its number."""
        if self._key is None:
            return f"number {row}"
        return f"with key {self._data.select_columns([self._key])[row][self._key]!r}"


class HubTable(HubRows):
    """One that has a length, and is read a run of rows at a time."""

    def __len__(self) -> int:
        return len(self._data)


class HubStream(HubRows):
    """One that is streamed: rows come one by one."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        rows, at, before = iter(self._data), 0, ""
        while True:
            try:
                row = next(rows)
                found = {**row, **{name: self._sound(name, row[name]) for name in self._rates}}
            except StopIteration:
                return
            except Exception as error:  # as above; a stream cannot be gone on with behind it
                raise UnreadableRowsError(
                    f"The row number {at}{before} cannot be decoded ({_first_line(error)}); leave it out or replace "
                    "its file."
                ) from error
            yield found
            at += 1
            if self._key is not None:
                before = f" (behind key {row.get(self._key)!r})"


def is_of_hub(data: Any) -> bool:
    """Whether ``data`` is a data set of the library ``datasets``."""
    return (
        type(data).__module__.startswith("datasets.")
        and hasattr(data, "cast_column")
        and hasattr(data, "features")
    )


def hub_rows(data: Any, key: str | None) -> HubRows:
    """``data`` as rows that are named when they cannot be read."""
    return HubTable(data, key) if hasattr(data, "num_rows") else HubStream(data, key)


def _undecoded_sounds(data: Any) -> tuple[Any, dict[str, int | None]]:
    """The data with files in place of sounds, and the rate that each such column asks for."""
    rates: dict[str, int | None] = {}
    for name, kind in (data.features or {}).items():
        is_sound = type(kind).__name__ == "Audio" and getattr(kind, "decode", False)
        if is_sound and find_spec("torchcodec") is None:
            data = data.cast_column(name, replace(kind, decode=False))
            rates[name] = kind.sampling_rate
    return data, rates


def _first_line(error: Exception) -> str:
    """The reason without the addresses of objects."""
    line = first_line(error)
    return re.sub(r" ?<[\w.]+ object at 0x\w+>", "", line)
