"""Small generated stand-ins for the real files: tones for spoken digits, gratings for written ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile


def write_tone(path: Path, digit: int, *, rate: int = 8000, seconds: float = 0.4, seed: int = 0) -> None:
    """A WAV whose pitch tells the class."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.5 * np.sin(2 * np.pi * (200 + 150 * digit) * time) + 0.01 * rng.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="PCM_16")


def write_idx(path: Path, array: np.ndarray) -> None:
    """A gzipped IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="session")
def fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, ten digits, takes 0 (test), 10 (validation) and 15 to 22 (pool)."""
    folder = tmp_path_factory.mktemp("fsdd")
    for speaker in ("ann", "bob"):
        for digit in range(10):
            for take in (0, 10, *range(15, 23)):
                seed = take + 100 * digit
                write_tone(folder / "recordings" / f"{digit}_{speaker}_{take}.wav", digit, seed=seed)
    return folder


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """800 training and 40 test images."""
    folder = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    for name, n in (("train", 800), ("t10k", 40)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 28, 28)))
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return folder
