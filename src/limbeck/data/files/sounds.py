"""The one way from a sound to samples: one channel of float32 from -1 to 1, and its rate."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.files.contents import first_bytes, what_it_is
from limbeck.data.files.pictures import as_numpy
from limbeck.errors import ConfigError, DataError

MOST_SAMPLES = 2**28  # of all channels; as floats 1 GB. A head may claim any number
_MOST_CHANNELS, _HIGHEST_RATE = 64, 1_000_000
_STREAMED = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)  # lengths that recorders write which do not know them yet


def read_sound(source: bytes | Path, where: str) -> tuple[np.ndarray, int]:
    """The samples of a file, ``[n]`` float32, channels averaged, and its rate in Hz.

    Args:
        source: of any format that libsndfile reads (WAV of any depth, FLAC, OGG, MP3, AIFF, ...).

    Raises: DataError naming ``where`` it is from, for what is missing, empty, cut short, of zero length, not finite or
        no sound. ConfigError without soundfile.
    """
    head, size = first_bytes(source, where, 4096)
    with _opened(source, where, head) as file:
        expected, rate = file.frames, file.samplerate
        if expected * file.channels > MOST_SAMPLES:
            raise DataError(
                f"{where} says that it has {expected:,} samples in {file.channels} channels, and more than "
                f"{MOST_SAMPLES:,} are not read; cut it into pieces, or save it anew if that is not true."
            )
        samples = file.read(dtype="float32", always_2d=True)
        is_short = file.format != "MP3" and len(samples) < expected  # of an MP3 it is a guess
    if is_short or _is_cut(head, size):
        raise _cut(where)
    if not len(samples):
        raise DataError(f"{where} is a recording of zero length; remove it or record it again.")
    wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return _checked(wave, where), _checked_rate(rate, where)


def check_sound(source: bytes | Path, where: str) -> None:
    """Raise DataError as :func:`read_sound`, for what the file's head tells. Without soundfile nothing is checked."""
    head, size = first_bytes(source, where, 4096)
    if _is_cut(head, size):
        raise _cut(where)
    try:
        _soundfile()
    except ConfigError:
        return
    with _opened(source, where, head) as file:
        if not file.frames:
            raise DataError(f"{where} is a recording of zero length; remove it or record it again.")


class _Bytes(io.BytesIO):
    """Bytes in which a broken head may send the reader before their start, which would be told on the terminal."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return super().seek(0)


@contextmanager
def _opened(source: bytes | Path, where: str, head: bytes) -> Iterator[Any]:
    """A soundfile; what goes wrong with it is a sentence."""
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(_Bytes(source) if isinstance(source, bytes) else source) as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # libsndfile's errors, and those of numpy and Python over headers of nonsense
        reason = (
            what_it_is(head) or str(error).rsplit(": ", 1)[-1].strip().rstrip(".") or type(error).__name__
        )
        raise DataError(f"{where} cannot be read as audio ({reason}); remove it or replace it.") from error


def samples_of(value: Any, where: str = "A sound") -> np.ndarray:
    """Samples in memory as ``[n]`` float32, channels averaged; as for :func:`channels_of`."""
    wave = channels_of(value, where)
    return wave.mean(axis=0, dtype=np.float32) if len(wave) != 1 else wave[0]


def channels_of(value: Any, where: str = "A sound") -> np.ndarray:
    """Samples in memory as ``[channels, n]`` float32.

    Args:
        value: ``[n]``, ``[channels, n]`` or ``[n, channels]``; floats from -1 to 1, or integers, which are scaled by
            their range (int16: 32768; uint8: 128 is silence; int64, as of plain lists, by 16 or else 32 bit).

    Raises: DataError for another shape or type, and for samples that are not finite.
    """
    wave = as_numpy(value)
    if wave.dtype.kind not in "iuf" or wave.ndim not in (1, 2):
        raise DataError(
            f"{where} is an array of shape {list(wave.shape)} of {wave.dtype}; give samples [n], or [channels, n], as "
            "floats or int16."
        )
    if not wave.size:
        return np.zeros((1, 0), dtype=np.float32)
    wide = np.atleast_2d(wave)
    wide = wide if wide.shape[0] <= wide.shape[1] or wave.ndim == 1 else wide.T
    if len(wide) > _MOST_CHANNELS:
        raise DataError(
            f"{where} is an array of shape {list(wave.shape)}, which is no sound; give samples [n], or a row for each "
            "channel."
        )
    return _checked(_scaled(wide, where), where)


def rate_of(value: Mapping[str, Any], where: str = "A waveform") -> int | None:
    """The rate of a sound ``{"array", "sampling_rate"}`` in Hz; ``None`` where it carries none.

    Raises: DataError for one that is no whole number above 0.
    """
    rate = value.get("sampling_rate")
    if rate is None:
        return None
    return _checked_rate(rate, where)


def _checked_rate(rate: Any, where: str) -> int:
    try:
        found = float(rate)
    except (TypeError, ValueError):
        found = 0.0
    if not (1 <= found <= _HIGHEST_RATE and found.is_integer()):
        raise DataError(
            f"{where} has the rate {rate!r}; give whole samples a second (Hz), up to {_HIGHEST_RATE:,}."
        )
    return int(found)


def _scaled(wave: np.ndarray, where: str) -> np.ndarray:
    """Samples as float32 from -1 to 1 (floats as they are)."""
    if wave.dtype.kind == "f":
        return wave.astype(np.float32)
    if wave.dtype == np.uint8:
        return (wave.astype(np.float32) - 128) / 128
    if wave.dtype.kind == "i":
        bits = 8 * wave.dtype.itemsize
        if bits == 64:  # of a list, which says nothing of its range
            loudest = max(-int(wave.min(initial=0)), int(wave.max(initial=0)))
            bits = 16 if loudest <= 2**15 else 32
            if loudest > 2**31:
                raise DataError(
                    f"{where} has samples up to {loudest}; give int16, int32, or floats from -1 to 1."
                )
        return (wave / 2.0 ** (bits - 1)).astype(np.float32)
    raise DataError(f"{where} of {wave.dtype} has no known range; give int16, uint8, or floats from -1 to 1.")


def _checked(wave: np.ndarray, where: str) -> np.ndarray:
    if not np.isfinite(wave).all():
        raise DataError(
            f"{where} holds samples that are not finite (NaN or infinite); remove it or replace it."
        )
    return wave


def _cut(where: str) -> DataError:
    return DataError(f"{where} is cut short: it holds less sound than its header says; replace it.")


def _is_cut(head: bytes, size: int) -> bool:
    """Whether the sound of a WAV file should be longer than the file is; libsndfile reads what is there."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    at = 12
    while at + 8 <= len(head):
        name, length = head[at : at + 4], struct.unpack("<I", head[at + 4 : at + 8])[0]
        if name == b"data":
            return length not in _STREAMED and length < 0x7FFFF000 and at + 8 + length > size
        at += 8 + length + length % 2
    return False


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise ConfigError(
            "Reading audio needs soundfile; install it with: pip install 'limbeck[audio]'."
        ) from error
    return soundfile
