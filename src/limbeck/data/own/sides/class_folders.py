"""Which files a folder of classes holds: one sub-folder a class, perhaps below ``train``, ``val`` and ``test``."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import DataError, some

UNLABELLED_FOLDER = "unlabelled"
# What the folders of a split are called, in small letters.
ROLE_OF = {
    "train": "train", "training": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
# What file systems and programs leave behind, in small letters; and all names that begin with a dot.
_LEFT_BEHIND = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin",
    "system volume information", "lost+found", "__pycache__",
}  # fmt: skip


@dataclass(frozen=True)
class ClassFile:
    """One file.

    Args:
        path: where it lies (a link that leads nowhere included).
        key: its path in the folder, without the suffix: ``cat/001``.    source: with it, for messages.
        label: its class; ``None`` in ``unlabelled``.
        role: ``train``, ``validation`` or ``test``, where the folder is cut into these.
    """

    path: Path
    key: str
    source: str
    label: str | None
    role: str | None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: its name begins with a dot, or a program left it behind."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def one_form(name: str) -> str:
    """A name in one Unicode form: the same ``é`` is one character on one machine and two on another."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def key_of_path(name: str) -> str:
    """A path without its suffix, in one Unicode form. A number behind the last dot is no suffix: ``IMG.0001`` and
    ``IMG.0002`` are two names."""
    whole = Path(name).as_posix()
    stem, suffix = os.path.splitext(whole)
    return one_form(whole if suffix[1:].isdigit() else stem)


def class_files(folder: Path) -> list[ClassFile]:
    """The files of all classes, at any depth, in the order of their names; hidden ones are left out, links followed.

    Raises: DataError: no class sub-folders, no files, folders of a split beside others.
    """
    top = sub_folders(folder)
    if not top:
        raise DataError(f"{folder} holds no class sub-folders and no CSV; make one sub-folder per class.")
    roles = _roles(folder, top)
    found: list[ClassFile] = []
    for entry in top:
        classes = sub_folders(entry) if entry.name in roles else [entry]
        for place in classes:
            label = None if UNLABELLED_FOLDER in (place.name, entry.name) else one_form(place.name)
            found += [_file(folder, path, label, roles.get(entry.name)) for path in files_below(place)]
    if not found:
        raise DataError(f"{folder} has class sub-folders ({some(e.name for e in top)}) but no file in them.")
    return found


def _file(folder: Path, path: Path, label: str | None, role: str | None) -> ClassFile:
    source = path.relative_to(folder).as_posix()
    return ClassFile(path, key_of_path(source), source, label, role)


def sub_folders(folder: Path) -> list[Path]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({(error.strerror or str(error)).lower()}).") from error
    return [entry for entry in entries if entry.is_dir()]


def _roles(folder: Path, top: list[Path]) -> dict[str, str]:
    """Name of each folder of a split to its role; none where the sub-folders are classes.

    Raises: DataError where they are both, where a split has no classes, or where two folders have one role.
    """
    named = {entry.name: ROLE_OF[entry.name.lower()] for entry in top if entry.name.lower() in ROLE_OF}
    rest = [entry.name for entry in top if entry.name not in named and entry.name != UNLABELLED_FOLDER]
    flat = [entry.name for entry in top if entry.name in named and not sub_folders(entry)]
    if "train" not in named.values() or (rest and (len(named) == 1 or flat)):
        return {}
    if rest:
        raise DataError(
            f"{folder} holds {some(named)}, which are splits, beside {some(rest)}; move these away, or into a "
            "folder of classes of their own."
        )
    if flat:
        raise DataError(
            f"{folder} holds the splits {some(named)}, but {flat[0]} has no class sub-folders; sort its files into "
            "classes, or move it away."
        )
    if len(set(named.values())) < len(named):
        raise DataError(
            f"{folder} holds two folders for one split ({some(named)}); put their files together."
        )
    return named


def files_below(folder: Path) -> Iterator[Path]:
    """Files at any depth in the order of their paths; a folder that is one of those above it is not entered again."""
    return iter(sorted(_walk(folder, frozenset())))


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in above:
            return
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({(error.strerror or str(error)).lower()}).") from error
    for name in names:
        path = folder / name
        if path.is_dir():
            yield from _walk(path, above | {place})
        else:  # a link that leads nowhere is told where it is read
            yield path
