"""WAV files to waves, and waves to log-mel spectrograms, with torch, soundfile and scipy only."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck.data.files.sounds import read_sound
from limbeck.errors import DataError


@dataclass(frozen=True)
class LogMel:
    """A standardised log-mel spectrogram of fixed size; the defaults are those of the digits benchmark.

    Args:
        rate: samples a second of the waves.
        n_bands: mel bands between ``lowest`` and ``highest`` Hz.
        n_fft, window, hop: samples; Hann window, centred in the Fourier frame.
        n_frames: columns after centring: a longer clip loses both ends, a shorter one gets its mean (0).
        pool: bands and frames are averaged in squares of this side; divides ``n_bands`` and ``n_frames``.

    Call: wave ``[samples]`` float to ``[1, n_bands / pool, n_frames / pool]`` float32, mean 0 and deviation 1
    over the clip before it is padded.
    """

    rate: int = 8000
    n_bands: int = 64
    lowest: float = 60.0
    highest: float = 4000.0
    n_fft: int = 512
    window: int = 256
    hop: int = 80
    n_frames: int = 64
    pool: int = 2

    def __call__(self, wave: Tensor) -> Tensor:
        if len(wave) < self.window:
            raise DataError(
                f"a clip of {len(wave)} samples is too short: one window of the spectrogram has {self.window}"
            )
        hann = torch.hann_window(self.window)
        wave = torch.nn.functional.pad(wave.float(), (self.n_fft // 2, self.n_fft // 2))
        frames = torch.stft(
            wave, self.n_fft, self.hop, self.window, hann, center=False, return_complex=True
        )  # [n_fft / 2 + 1, frames]
        bank = mel_filters(self.n_bands, self.n_fft, self.rate, self.lowest, self.highest)
        log_mel = torch.log(bank @ frames.abs().square() + 1e-6)
        log_mel = (log_mel - log_mel.mean()) / log_mel.std().clamp_min(1e-5)
        fitted = _centred(log_mel, self.n_frames)
        return (
            torch.nn.functional.avg_pool2d(fitted.unsqueeze(0), self.pool) if self.pool > 1 else fitted[None]
        )


def read_wave(path: Path, rate: int, *, resample: bool = False) -> Tensor:
    """The samples of an audio file as ``[samples]`` float32 in -1 to 1, channels averaged.

    Args:
        path: any file that libsndfile reads (WAV, FLAC, OGG, ...).
        rate: samples a second wanted.
        resample: convert a file of another rate (polyphase filter) instead of refusing it.

    Raises: DataError, a sentence that names the file, when it is missing, unreadable, empty, not finite, or
        of another rate and ``resample`` is off. ConfigError when soundfile is not installed.
    """
    wave, found = read_sound(path, str(path))
    return at_rate(wave, found, rate, str(path), resample=resample)


def at_rate(wave: np.ndarray, found: int, rate: int, where: str, *, resample: bool) -> Tensor:
    """Samples of ``found`` Hz as ``[samples]`` float32 of ``rate``; DataError names ``where`` they are from."""
    if found != rate:
        if not resample:
            raise DataError(
                f"{where} has {found} samples a second where {rate} are expected; pass resample=True."
            )
        wave = resampled(wave, found, rate)
    return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))


def resampled(wave: np.ndarray, rate: int, to: int) -> np.ndarray:
    """``wave`` at ``to`` samples a second, by a polyphase filter."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, to)
    up, down = to // common, rate // common
    return resample_poly(wave, up, down, window=_low_pass(max(up, down)))


@functools.lru_cache(maxsize=8)  # scipy designs it anew in every call, which costs more than the filtering
def _low_pass(factor: int) -> np.ndarray:
    from scipy.signal import firwin

    return firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))


@functools.lru_cache(maxsize=8)
def mel_filters(n_bands: int, n_fft: int, rate: int, lowest: float, highest: float) -> Tensor:
    """Triangles ``[n_bands, n_fft / 2 + 1]`` of height 1, equally wide in mel (2595 log10(1 + f / 700))."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = 700 * (
        10 ** (torch.linspace(mel(lowest), mel(highest), n_bands + 2, dtype=torch.float64) / 2595) - 1
    )
    bins = torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    left, peak, right = (edges[i : i + n_bands].unsqueeze(1) for i in range(3))
    return torch.minimum((bins - left) / (peak - left), (right - bins) / (right - peak)).clamp_min(0).float()


def _centred(spectrogram: Tensor, n_frames: int) -> Tensor:
    """``[bands, n_frames]``: zeros on both sides of a short spectrogram, both ends cut off a long one."""
    missing = n_frames - spectrogram.shape[1]
    if missing >= 0:
        return torch.nn.functional.pad(spectrogram, (missing // 2, missing - missing // 2))
    return spectrogram[:, -missing // 2 : -missing // 2 + n_frames]
