"""What a file is that is not what its name says: a web page for a picture, an Excel file for a CSV."""

from __future__ import annotations

import os
from pathlib import Path

from limbeck.errors import DataError

_STARTS = {
    b"version https://git-lfs": "a pointer of Git LFS (fetch the file itself with: git lfs pull)",
    b"PK\x03\x04": "a ZIP archive or an Excel file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"\x1f\x8b": "compressed with gzip (unpack it)",
    b"BZh": "compressed with bzip2 (unpack it)",
    b"\xfd7zXZ": "compressed with xz (unpack it)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd (unpack it)",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"%PDF": "a PDF",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\xff\xfe\0\0": "text in UTF-32",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def what_it_is(head: bytes) -> str | None:
    """Words for what a file is that begins with ``head`` (64 bytes do), ``None`` where that is not known."""
    if not head:
        return "an empty file"
    for start, words in _STARTS.items():
        if head.startswith(start):
            return words
    if head[4:8] == b"ftyp":
        return "a HEIC picture (save it as JPEG)" if head[8:12] in _HEIC else "an MP4 file"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML)"
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG drawing or other XML"
    if text.startswith((b'{"', b"{'")):
        return "JSON"
    return None


def first_bytes(source: bytes | Path, where: str, n: int = 64) -> tuple[bytes, int]:
    """The first ``n`` bytes of a picture's or sound's file, and its size in bytes.

    Raises: DataError naming ``where`` it is from, for a file that is missing, empty or may not be read.
    """
    if isinstance(source, bytes):
        head, size = source[:n], len(source)
    else:
        try:
            with open(source, "rb", buffering=0) as file:
                head, size = file.read(n), os.fstat(file.fileno()).st_size
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise DataError(f"{where} does not exist; check the folder or the file column.") from error
        except IsADirectoryError as error:
            raise DataError(f"{where} is a folder; give the path of a file.") from error
        except OSError as error:
            raise DataError(f"{where} cannot be read ({(error.strerror or str(error)).lower()}).") from error
    if not head:
        raise DataError(f"{where} is an empty file (0 bytes); remove it or replace it.")
    return head, size
