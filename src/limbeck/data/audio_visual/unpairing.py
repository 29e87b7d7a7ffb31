"""What makes sounds and pictures of the same classes less alike: pools apart, noise, a long tail, less of everything.

Axis legend: n rows asked for, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Inputs, Table
from limbeck.seeding import keyed_generator, keyed_seed
from limbeck.signals.key import Key


@dataclass(frozen=True)
class Level:
    """How far apart the training rows of the two modalities are.

    Args:
        sounds: share of each class's clips that are heard and not seen; the others are seen and not heard. None: all
            clips are both.
        noise: deviation of what is added to the standardised inputs of both.
        tail: the most frequent class of the sounds has so many times the clips of the rarest.

    Source: ``CHALLENGE_PRESETS`` of the released code of UCMKD (``ravdess/utils/RavvdessDataset.py``), whose paper
    calls its ``moderate`` medium.    Deviation: its noise is added to the raw spectrogram before that is divided by
    85.66, where it is next to nothing, and its pictures change colour and lose parts; here both get noise of that
    deviation where it counts.
    """

    sounds: float | None = None
    noise: float = 0.0
    tail: float = 1.0


LEVELS = {
    "none": Level(),
    "mild": Level(0.7, 0.11, 5.0),
    "medium": Level(0.5, 0.15, 10.0),
    "hard": Level(0.3, 0.21, 50.0),
}


def thinned(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Sorted rows ``[n]``: this share of each class, at least one, drawn by ``seed``."""
    rng = np.random.default_rng(keyed_seed("audio_visual", "share", seed))
    rows = [
        rng.permutation(of_class)[: max(1, round(share * len(of_class)))]
        for of_class in (np.flatnonzero(labels == c) for c in np.unique(labels))
    ]
    return np.sort(np.concatenate(rows))


def pools(labels: np.ndarray, level: Level, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted rows that are heard, and that are seen; a class of one clip is both."""
    heard, seen = list[np.ndarray](), list[np.ndarray]()
    rng = np.random.default_rng(keyed_seed("audio_visual", "pools", seed))
    classes = np.unique(labels)
    rank = {int(c): place for place, c in enumerate(rng.permutation(classes))}
    for c in classes:
        rows = rng.permutation(np.flatnonzero(labels == c))
        cut = len(rows) if level.sounds is None else max(1, int(len(rows) * level.sounds))
        kept = level.tail ** (-rank[int(c)] / max(len(classes) - 1, 1))
        heard.append(rows[:cut][: max(1, int(cut * kept))])
        rest = rows if level.sounds is None else rows[cut:]
        seen.append(rest if len(rest) else rows)
    return np.sort(np.concatenate(heard)), np.sort(np.concatenate(seen))


@dataclass(frozen=True)
class Noisy:
    """Rows of a table with noise of their own, the same whenever they are read.

    Args:
        keys: of all N rows.    deviation: of the noise.
    """

    table: Table
    keys: Sequence[Key]
    deviation: float

    @property
    def columns(self) -> tuple[str, ...]:
        return self.table.columns

    def rows(self, index: Tensor) -> Inputs:
        found = self.table.rows(index)
        if not len(index):
            return found
        keys = [self.keys[i] for i in index.tolist()]
        return {
            name: x + self.deviation * torch.stack([_noise(key, name, x[0].shape) for key in keys])
            for name, x in found.items()
        }


def _noise(key: Key, name: str, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=keyed_generator("audio_visual", "noise", key, name))
