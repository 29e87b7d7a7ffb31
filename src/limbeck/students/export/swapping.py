"""What is written beside its place and then takes it; and what is left where a process was killed in between."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

_OLD = ".old"
_LONG_AGO = 86400.0  # seconds; nobody writes a student for a day


def beside(path: Path) -> Path:
    """A name for what is being written for ``path``, in the same folder; it says which process writes."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.{uuid.uuid4().hex}")


def swap(new: Path, folder: Path) -> None:
    """Put ``new`` in the place of ``folder``; killed in between, the older one is kept under a hidden name, and
    :func:`clear_killed` puts it back."""
    old = beside(folder)
    old = old.with_name(old.name + _OLD)
    if folder.exists() or folder.is_symlink():
        os.rename(folder, old)
    os.rename(new, folder)
    _remove(old)


def clear_killed(folder: Path) -> None:
    """Remove what killed processes left beside ``folder``, and put back what one of them had moved out of the way."""
    ours = re.compile(rf"\.{re.escape(folder.name)}\.(?:(\w+)-(\d+)\.)?[0-9a-f]{{32}}(?:\{_OLD})?")
    for path in sorted(folder.parent.iterdir()) if folder.parent.is_dir() else ():
        named = ours.fullmatch(path.name)
        if named is None or _is_written(path, named[1], named[2]):
            continue
        if path.suffix == _OLD and not folder.exists():
            os.rename(path, folder)
        else:
            _remove(path)


def _is_written(path: Path, host: str | None, process: str | None) -> bool:
    """Whether somebody may still be writing there."""
    if host == _host() and process is not None:
        return int(process) != os.getpid() and _lives(int(process))
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime < _LONG_AGO
    return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _host() -> str:
    return re.sub(r"\W+", "_", socket.gethostname())


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
