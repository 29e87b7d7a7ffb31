"""Files that appear whole or not at all, and the folder of what is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part: write, fsync, rename.

    One writer at a time: what an interrupted one leaves behind, ``.NAME.partial``, the next one overwrites.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync_folder(path.parent)


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
