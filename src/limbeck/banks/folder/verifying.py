"""Reading every byte of a bank once, at the start of a run, and comparing it with the recorded hashes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

from limbeck.banks.folder.opened import BankFiles
from limbeck.banks.shards import corrupt, file_hash
from limbeck.progress import progress

_THREADS = 4  # SHA-256 of one thread is slower than a disk
_wanted: ContextVar[bool] = ContextVar("verify_banks", default=True)
_whole: dict[str, object] = {}  # banks found whole by this process, and the state of their files then


def is_verifying() -> bool:
    """Whether banks are verified before they are read; False inside :func:`verifying` ``(False)``."""
    return _wanted.get()


@contextmanager
def verifying(wanted: bool) -> Iterator[None]:
    """A context in which banks are verified at the start of runs and builds, unless one around it says no."""
    token = _wanted.set(wanted and _wanted.get())
    try:
        yield
    finally:
        _wanted.reset(token)


def is_known_whole(files: BankFiles) -> bool:
    """This process has read all of these files, and none has changed since."""
    return _whole.get(str(files.folder.absolute())) == _state(files)


def check_hashes(files: BankFiles) -> int:
    """Read every byte; returns how many.

    Raises: CorruptShardError naming the first file that differs.    BankError where another bank is there now.
    """
    total = sum(entry["bytes"] for entry in files.listed.values())
    threads = min(_THREADS, os.cpu_count() or 1, len(files.listed))
    names = list(files.listed)
    with (
        progress(f"Verifying {files.folder.name}", total, "bytes") as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        found = pool.map(lambda name: _hash_or_none(files, name), names)
        try:
            for name, digest in zip(names, found):
                if digest != files.listed[name]["sha256"]:
                    files.check(name)
                    raise corrupt(files.folder / name, "its bytes have changed")
                advance(files.listed[name]["bytes"])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return total


def keep_as_whole(files: BankFiles) -> None:
    """Remember that these files were read and right, so that they are not read again for the next run."""
    for name in files.listed:
        files.check(name)
    _whole[str(files.folder.absolute())] = _state(files)


def _hash_or_none(files: BankFiles, name: str) -> str | None:
    try:
        return file_hash(files.folder / name)
    except FileNotFoundError:
        return None


def _state(files: BankFiles) -> object:
    return files.identity, files.states
