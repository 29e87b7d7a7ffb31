"""A text file in UTF-8, line by line; what is no text is named by line and byte."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck.data.files.contents import what_it_is
from limbeck.errors import DataError

_BLOCK = 2**20
_MEND = "save it anew in UTF-8"


class _Nul(Exception):
    """A byte 0, which no text holds."""


class _Bytes(io.BufferedReader):
    """Bytes of a text: looked through for NUL as they are read, which costs nothing beside decoding them."""

    def read1(self, size: int = -1, /) -> bytes:
        data = super().read1(size)
        if b"\0" in data:
            raise _Nul
        return data


@contextmanager
def text_lines(path: Path, kind: str) -> Iterator[Iterator[str]]:
    """The lines of ``path`` with their ends (any of ``\\n``, ``\\r\\n``, ``\\r``), without a byte order mark.

    Args:
        kind: what the file should be, for messages: ``a CSV``.

    Raises: DataError naming file, line and byte, while it is read: text in another encoding, NUL.
    """
    try:
        with io.TextIOWrapper(_Bytes(io.FileIO(path)), encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        at, line, byte = _first_bad_byte(path)
        raise DataError(
            f"{path} cannot be read as {kind} in UTF-8: line {line} holds the byte 0x{byte:02X} (byte {at} of the "
            f"file), as Latin-1 or Windows text does; {_MEND} (Excel: 'CSV UTF-8')."
        ) from error
    except _Nul as error:
        raise DataError(
            f"{path} cannot be read as {kind} in UTF-8: line {_line_of_nul(path)} holds the byte 0 (NUL), so it is "
            f"text in UTF-16 or no text; {_MEND}."
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} cannot be read ({reason}); check the file and its rights.") from error


def check_text(path: Path, kind: str) -> None:
    """Raise DataError for a file that is known by its first bytes to be something else than ``kind``."""
    with path.open("rb") as file:
        found = what_it_is(file.read(64))
    if found is not None and found != "JSON" and found != "an empty file":
        mend = _MEND if "UTF-" in found else f"give {kind} in UTF-8"
        raise DataError(
            f"{path} cannot be read as {kind} in UTF-8: its first bytes are those of {found}; {mend}."
        )


def _first_bad_byte(path: Path) -> tuple[int, int, int]:
    """Of what is not UTF-8: its place in the file from 0, its line, and its value."""
    read, line, rest = 0, 1, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            data = rest + block
            try:
                data.decode("utf-8")
                good = len(data)
            except UnicodeDecodeError as error:
                good = error.start
                if error.reason != "unexpected end of data" or len(data) - good > 3:
                    return read + good, line + line_ends(data[:good]), data[good]
            if good and data[:good].endswith(b"\r"):  # its \n may begin the next block
                good -= 1
            line += line_ends(data[:good])
            read, rest = read + good, data[good:]
    return read, line, rest[0] if rest else 0


def _line_of_nul(path: Path) -> int:
    line, rest = 1, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            data = rest + block
            good = data.find(b"\0")
            if good >= 0:
                return line + line_ends(data[:good])
            good = len(data) - data.endswith(b"\r")
            line += line_ends(data[:good])
            rest = data[good:]
    return line


def line_ends(data: Any) -> int:
    """How many lines end in bytes or a text, as Python's universal newlines count them."""
    if isinstance(data, str):
        return data.count("\n") + data.count("\r") - data.count("\r\n")
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
