"""Sounds as WAV files of 16 bit, with the standard library; other formats through soundfile."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.files.sounds import read_sound
from limbeck.errors import DataError


def wave_file(samples: np.ndarray, rate: int) -> bytes:
    """A 16-bit WAV file of samples ``[T]`` or ``[channels, T]`` from -1 to 1; a louder wave is scaled to fit."""
    wide = np.atleast_2d(np.asarray(samples, dtype=np.float64))
    if wide.shape[0] > wide.shape[1]:  # [T, channels]
        wide = wide.T
    if not wide.size or not np.isfinite(wide).all():
        raise DataError("A waveform is empty or holds NaN; leave it out or mend it.")
    peak = max(1.0, float(np.abs(wide).max()))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(wide.shape[0])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(wide.T / peak * 32767).astype("<i2").tobytes())
    return file.getvalue()


def read_wave_file(path: Path) -> dict[str, Any]:
    """A 16-bit WAV file as ``{"array": [T] or [channels, T] float32, "sampling_rate": Hz}``."""
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise wave.Error("not 16 bit")
            flat, rate, n = file.readframes(file.getnframes()), file.getframerate(), file.getnchannels()
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{path} cannot be read as a 16-bit WAV file ({error}); delete it.") from error
    samples = np.frombuffer(flat, dtype="<i2").astype(np.float32).reshape(-1, n).T / 32767
    return {"array": samples[0] if n == 1 else samples, "sampling_rate": rate}


def as_wave(data: bytes, where: str) -> bytes:
    """A sound file of any format that soundfile reads, as a WAV file. Raises: as
    :func:`~limbeck.data.files.sounds.read_sound`."""
    return wave_file(*read_sound(data, where))
