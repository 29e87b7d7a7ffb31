"""Files that appear whole or not at all, folders with one writer, and the folder of what is kept between runs.

Everything of ours that is written goes through here, so that three things hold everywhere: no link is followed, an
error of the machine names the file, and what a reader finds is whole.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import ConfigError, machine_error

if TYPE_CHECKING:
    from filelock import FileLock

LOCK_FILE = ".limbeck.lock"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(
    os, "O_BINARY", 0
)  # Windows has the one, others the other


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part: write, fsync, rename.

    One writer at a time: what an interrupted one leaves behind, ``.NAME.partial``, the next one removes. A link in the
    file's place is replaced, not followed.

    Raises: MachineError naming the file; nothing is left of what was written of it.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    data = content.encode() if isinstance(content, str) else content
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
        try:
            with open(os.open(partial, flags, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):  # gives the space back
                partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a file; MachineError naming the file, also where it is a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_FOLLOW
    with writing(path), open(os.open(path, flags, 0o666), "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Inside, what the machine refuses (space, permission, descriptors) becomes a MachineError that names the file,
    whatever library writes it."""
    try:
        yield
    except Exception as error:
        found = machine_error(error, path)
        if found is None or found is error:
            raise
        raise found from error


@contextmanager
def only_writer(folder: str | Path, what: str) -> Iterator[None]:
    """Inside, this is the one process that writes in ``folder``; the lock of a killed one is free at once.

    Args:
        what: who writes, for the message of the second one: ``run``.

    Raises: ConfigError naming the process that writes there.
    """
    from filelock import FileLock, Timeout

    path = Path(folder) / LOCK_FILE
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_links(path)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"Another {what} is writing in {folder} "
                f"({holder_told(_note_of(path)) or 'which does not say more of itself'}); wait for it, stop it, or "
                "name another output folder."
            ) from None
    with held(lock, _note_of(path)):
        yield


@contextmanager
def held(lock: FileLock, note: Path) -> Iterator[None]:
    """Inside, the file ``note`` says which process holds ``lock``, which has been acquired; then both are given up."""
    me = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        write_whole(note, json.dumps(me))
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder_told(note: Path) -> str | None:
    """Which process :func:`held` noted, in words; None where it does not say."""
    try:
        found = json.loads(note.read_bytes())
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note_of(lock: Path) -> Path:
    return lock.with_suffix(".json")


def refuse_links(*paths: Path) -> None:
    """Refuse to write where a link stands in the place of a file or folder of ours, or in a folder of ours.

    Raises: ConfigError naming the link.
    """
    for path in paths:
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        for found in (path, *inside):
            if found.is_symlink():
                raise ConfigError(
                    f"{found} is a link, and what is written here must not land elsewhere; remove the link, or name "
                    "another output folder."
                )


def usable_name(text: str, what: str) -> str:
    """The name of a file or folder as it was given.

    Args:
        what: whose name it is, for the message.

    Raises: ConfigError for one that is empty (it would be the folder where one started), or that no file can have.
    """
    if not text.strip():
        raise ConfigError(f"{what} is empty; name a folder, or '.' for the one where you are.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {text!r} holds bytes that are no text in UTF-8; rename it.") from None
    if "\0" in text:
        raise ConfigError(f"{what} {text!r} holds a NUL character, which no file name has; leave it out.")
    return text


def cache_folder() -> Path:
    """``$LIMBECK_CACHE``, else ``limbeck`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if named := os.environ.get("LIMBECK_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limbeck"


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
