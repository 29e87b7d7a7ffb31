"""Lines of a text file in UTF-8, one after the other; what is no text is named by line and byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from limbeck.data.files.contents import what_it_is
from limbeck.errors import DataError

_BLOCK = 2**20
_MEND = "save it anew in UTF-8"


def text_lines(path: Path, kind: str) -> Iterator[str]:
    """The lines of ``path`` with their ends (any of ``\\n``, ``\\r\\n``, ``\\r``), without a byte order mark.

    Args:
        kind: what the file should be, for messages: ``a CSV``.

    Raises: DataError naming file, line and byte: text in another encoding, NUL, or no text at all.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise DataError(
                        f"{path} cannot be read as {kind} in UTF-8: line {number} holds the byte 0 (NUL), so it is "
                        f"text in UTF-16 or no text; {_MEND}."
                    )
                yield line
    except UnicodeDecodeError as error:
        raise _no_text(path, kind) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} cannot be read ({reason}); check the file and its rights.") from error


def check_text(path: Path, kind: str) -> None:
    """Raise DataError for a file that is known by its first bytes to be something else than ``kind``."""
    with path.open("rb") as file:
        found = what_it_is(file.read(64))
    if found is not None and found != "JSON" and found != "an empty file":
        mend = _MEND if "UTF-" in found else f"give {kind} in UTF-8"
        raise DataError(f"{path} cannot be read as {kind} in UTF-8: its first bytes are those of {found}; {mend}.")


def _no_text(path: Path, kind: str) -> DataError:
    """The sentence on the first byte that is not UTF-8."""
    at, line, byte = _first_bad_byte(path)
    return DataError(
        f"{path} cannot be read as {kind} in UTF-8: line {line} holds the byte 0x{byte:02X} (byte {at} of the file), as "
        f"Latin-1 or Windows text does; {_MEND} (Excel: 'CSV UTF-8')."
    )


def _first_bad_byte(path: Path) -> tuple[int, int, int]:
    """Its place in the file from 0, its line, and its value."""
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
                    return read + good, line + _ends(data[:good]), data[good]
            if good and data[:good].endswith(b"\r"):  # its \n may begin the next block
                good -= 1
            line += _ends(data[:good])
            read, rest = read + good, data[good:]
    return read, line, rest[0] if rest else 0


def _ends(data: bytes) -> int:
    """Ends of lines, as Python's universal newlines count them."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
