"""Putting a new bank in the place of an old one: built beside it in ``.new``, moved once it is whole.

The new bank counts from the moment that its ``bank.json`` says ``complete``. Then its files are moved over the old
ones, ``bank.json`` last, which whoever comes next repeats where it was interrupted; so a reader finds one of the two at
all times, and never a part of each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limbeck.banks.folder.fields import HEAD_FILE, INDEX_FILE
from limbeck.banks.manifest import LOG_FILE, MANIFEST_FILE, Manifest
from limbeck.errors import BankError, LimbeckError
from limbeck.files import write_whole

NEW = ".new"
_PATTERNS = ("shard-*.safetensors", "text-*.parquet", ".*.partial", INDEX_FILE, HEAD_FILE)


def own_files(folder: Path) -> list[Path]:
    """The files of a bank that are there, log and ``bank.json`` last."""
    return [path for pattern in (*_PATTERNS, LOG_FILE, MANIFEST_FILE) for path in folder.glob(pattern)]


def is_pending(folder: str | Path) -> bool:
    """A new bank is whole beside the old one and has not been put in its place yet."""
    if not os.path.lexists(f"{folder}/{NEW}/{MANIFEST_FILE}"):
        return False
    try:
        return Manifest.read(Path(folder) / NEW).state == "complete"
    except BankError:  # what a killed build left, and the disk spoilt
        return False


@contextmanager
def beside(folder: Path, *, goes_on: bool = False) -> Iterator[Path]:
    """A folder to build a new bank in; on leaving it the new bank is put in place of the old one.

    Hold the builder's lock. Where the build fails, the old bank is what it was.

    Args:
        goes_on: go on with what an interrupted build left there, and leave it where this one fails.
    """
    new = folder / NEW
    if not goes_on:
        drop_new(folder)
    new.mkdir(exist_ok=True)
    try:
        yield new
    except LimbeckError:
        if not goes_on:
            drop_new(folder)
        raise
    put_in_place(folder)


def put_in_place(folder: Path) -> None:
    """Finish what is pending; hold the builder's lock. Does nothing where nothing is."""
    new = folder / NEW
    if not is_pending(folder):
        return
    for name in Manifest.read(new).files:
        if (new / name).is_file():
            os.replace(new / name, folder / name)
    write_whole(folder / LOG_FILE, logged_costs(folder / LOG_FILE) + _text(new / LOG_FILE))
    write_whole(folder / MANIFEST_FILE, (new / MANIFEST_FILE).read_bytes())
    (new / MANIFEST_FILE).unlink()
    tidy(folder)


def tidy(folder: Path) -> None:
    """Remove what killed overwrites left: the new bank's folder, and files that a finished bank does not list."""
    drop_new(folder)
    try:
        manifest = Manifest.read(folder)
    except BankError:
        return
    if manifest.state == "complete":
        for path in own_files(folder):
            if path.name not in manifest.files and path.name not in (LOG_FILE, MANIFEST_FILE):
                path.unlink()


def drop_new(folder: Path) -> None:
    """Remove the new bank's folder; its ``bank.json`` first, so that it does not count as pending half removed."""
    new = folder / NEW
    if new.is_symlink() or new.is_file():  # never follow where a stranger's link leads
        new.unlink()
    elif new.is_dir():
        (new / MANIFEST_FILE).unlink(missing_ok=True)
        shutil.rmtree(new)


def logged_costs(log: Path) -> str:
    """The lines of a log that are not about files, which are as they were asked for."""
    lines = _text(log).splitlines(keepends=True)
    return "".join(line for line in lines if '"event": "asked"' in line or '"event": "probe"' in line)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
