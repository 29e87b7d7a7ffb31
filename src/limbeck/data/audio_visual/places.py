"""Where the parts of a clip lie: a sound, a film, a picture, or a folder of the film's pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FILMS = (".mp4", ".flv", ".avi", ".mkv", ".webm", ".mov")


@dataclass
class Places:
    """The files below a folder by their name without suffix; a folder that holds pictures also stands for a film of its
    name.

    Args:
        sounds, pictures, films: name to path; of several files of one name the first in the order of their paths.
    """

    sounds: dict[str, Path] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    films: dict[str, Path] = field(default_factory=dict)

    def names(self) -> Iterator[str]:
        yield from dict.fromkeys((*self.sounds, *self.pictures, *self.films))

    def sound(self, names: Sequence[str]) -> Path | None:
        """A sound, else a film that has one."""
        return _first(names, self.sounds, self.films)

    def picture(self, names: Sequence[str]) -> Path | None:
        """Pictures that were taken from the film, else the film."""
        return _first(names, self.pictures, self.films)


def places_below(folder: Path) -> Places:
    """All sounds, pictures and films below a folder; linked folders are not followed."""
    found = Places()
    for here, folders, files in os.walk(folder):
        folders.sort()
        kinds = [(Path(here) / name, Path(name).suffix.lower()) for name in sorted(files)]
        if any(suffix in PICTURES for _, suffix in kinds):
            found.pictures.setdefault(Path(here).name, Path(here))
        for path, suffix in kinds:
            for kind, into in ((SOUNDS, found.sounds), (PICTURES, found.pictures), (FILMS, found.films)):
                if suffix in kind:
                    into.setdefault(path.stem, path)
    return found


def _first(names: Sequence[str], *kinds: dict[str, Path]) -> Path | None:
    return next((kind[name] for kind in kinds for name in names if name in kind), None)
