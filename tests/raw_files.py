"""Small generated stand-ins for real files: tones that tell a class, gratings, MNIST's IDX format."""

from __future__ import annotations

import csv
import gzip
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np


def write_tone(path: Path, digit: int, *, rate: int = 8000, seconds: float = 0.4, seed: int = 0) -> None:
    """A WAV whose pitch tells the class."""
    import soundfile

    rng = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.5 * np.sin(2 * np.pi * (200 + 150 * digit) * time) + 0.01 * rng.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="PCM_16")


def write_grating(path: Path, number: int, *, seed: int = 0) -> None:
    """A 16 by 16 grey PNG whose stripes tell the class."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    stripes = 0.5 + 0.4 * np.sin((1 + number) * 0.7 * np.arange(16) + rng.uniform(0, 6))
    pixels = 255 * np.clip(stripes[:, None] + 0.05 * rng.standard_normal((16, 16)), 0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_idx(path: Path, array: np.ndarray) -> None:
    """A gzipped IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def fsdd_folder(folder: Path) -> Path:
    """Two speakers, ten digits, takes 0 (test), 10 (validation) and 15 to 22 (pool)."""
    for speaker in ("ann", "bob"):
        for digit in range(10):
            for take in (0, 10, *range(15, 23)):
                name = f"{digit}_{speaker}_{take}.wav"
                write_tone(folder / "recordings" / name, digit, seed=take + 100 * digit)
    return folder


def mnist_folder(folder: Path, labels: np.ndarray | None = None) -> Path:
    """800 training and 40 test images of noise."""
    rng = np.random.default_rng(0)
    for name, n in (("train", 800), ("t10k", 40)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 28, 28)))
        classes = np.arange(n) % 10 if labels is None else np.resize(labels, n)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", classes)
    return folder


def write_video(path: Path, levels: list[int], codec: str = "mpeg4") -> Path:
    """Grey pictures of these levels, one after the other."""
    import av
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for level in levels:
            pixels = np.full((32, 32, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
