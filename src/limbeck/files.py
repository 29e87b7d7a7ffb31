"""Files that appear whole or not at all, and the folder of what is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from limbeck.errors import ConfigError


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
