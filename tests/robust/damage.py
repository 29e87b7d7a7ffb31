"""Ways in which a file is spoilt: a disk, a copy that stopped, somebody's hand."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

# a file, a folder of the same files of another thing (another teacher, other seeds), and where to draw from
Damage = Callable[[Path, Path, random.Random], None]
VALUES: tuple[Any, ...] = (
    0, -5, 10**15, 10**40, 1.5, None, True, "", "x", "../x", "/etc/passwd", "\ud800", [], [1], {}, {"x": 1},
)  # fmt: skip


def flipped(path: Path, other: Path, draw: random.Random) -> None:
    """One bit."""
    content = bytearray(path.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def scattered(path: Path, other: Path, draw: random.Random) -> None:
    """Up to ten bytes."""
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(2, 10) if content else 0):
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


def zeroed(path: Path, other: Path, draw: random.Random) -> None:
    """A run of zeros, as a block that never reached the disk."""
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content) + 1)
    stop = min(len(content), start + draw.choice((8, 64, 512, 4096)))
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)


def moved_block(path: Path, other: Path, draw: random.Random) -> None:
    """A run of bytes written over another one."""
    content = bytearray(path.read_bytes())
    size = draw.choice((4, 16, 64))
    if len(content) > size:
        source, target = (draw.randrange(len(content) - size) for _ in range(2))
        content[target : target + size] = content[source : source + size]
    path.write_bytes(content)


def cut(path: Path, other: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def grown(path: Path, other: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice((1, 8, 512))))


def gone(path: Path, other: Path, draw: random.Random) -> None:
    path.unlink()


def swapped(path: Path, other: Path, draw: random.Random) -> None:
    """Two files of the folder change places."""
    second = draw.choice([p for p in sorted(path.parent.iterdir()) if p.is_file() and p != path] or [path])
    one, two = path.read_bytes(), second.read_bytes()
    path.write_bytes(two)
    second.write_bytes(one)


def foreign(path: Path, other: Path, draw: random.Random) -> None:
    """The file of the same name of another thing, which has the same shape."""
    if (other / path.name).is_file():
        shutil.copyfile(other / path.name, path)


def edited(path: Path, other: Path, draw: random.Random) -> None:
    """One value of a JSON file is another one, or its name is."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return flipped(path, other, draw)
    inner, places = [content], []
    while inner:
        value = inner.pop()
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, below in items:
            places.append((value, key))
            inner.append(below)
    if places:
        holder, key = draw.choice(places)
        if isinstance(holder, dict) and draw.random() < 0.2:
            holder[draw.choice(("x", "../x", "/etc/passwd"))] = holder.pop(key)
        else:
            holder[key] = draw.choice(VALUES)
    path.write_text(json.dumps(content, indent=1))
    return None


DAMAGES: tuple[Damage, ...] = (
    flipped, flipped, flipped, scattered, zeroed, moved_block, cut, grown, gone, swapped, foreign, edited,
)  # fmt: skip
