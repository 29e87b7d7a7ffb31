"""Made-up clips in the layouts of the four data sets: short tones, and grey pictures with one bright square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

RATE = 16000


def tone(path: Path, kind: int, seconds: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(RATE * seconds)) / RATE
    noise = np.random.default_rng(kind).normal(0, 0.02, len(time))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 150 * kind) * time) + noise, RATE)


def picture(path: Path, kind: int, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side, 3), 60, dtype=np.uint8)
    row, column = divmod(kind, 4)
    pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 250
    Image.fromarray(pixels).save(path)


def ravdess(folder: Path, actors: tuple[int, ...] = (1, 5, 9, 10)) -> Path:
    """One clip of each emotion and actor: with 2 actors of training, 2 clips a class."""
    for actor in actors:
        for emotion in range(1, 9):
            rest = f"01-{emotion:02d}-01-01-01-{actor:02d}"
            tone(folder / f"Actor_{actor:02d}" / f"03-{rest}.wav", emotion)
            for frame in range(3):
                picture(folder / f"Actor_{actor:02d}" / f"02-{rest}" / f"frame_{frame:04d}.png", emotion)
            tone(folder / f"Actor_{actor:02d}" / f"03-02-{rest[3:]}.wav", emotion, 0.1)  # a song
    return folder


def listed(folder: Path, names: dict[str, int]) -> Path:
    """Sounds and pictures of films by name, with the number of their class."""
    for name, kind in names.items():
        tone(folder / "audio" / f"{name}.wav", kind)
        picture(folder / "frames" / f"{name}.jpg", kind)
    return folder
