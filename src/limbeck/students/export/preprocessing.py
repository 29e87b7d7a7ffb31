"""From raw samples or pixels to a plain student's inputs, as a program that is shipped beside its own.

Limbeck itself reads files by ``preprocessor.json``; whoever has no limbeck runs ``preprocessing.json``, the same steps
as operators. Tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.data.files.audio import LogMel, mel_filters
from limbeck.students.export.answer import Answer
from limbeck.students.export.program import PREPARING, PREPARING_WEIGHTS
from limbeck.students.export.tracing import save_program

_BITS = 22  # Pillow's weights are whole numbers of 2 to the minus 22


class FromSamples(nn.Module):
    """:class:`~limbeck.data.files.audio.LogMel` of ``samples`` ``[n, t]`` float32, sounds of one length."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: LogMel) -> None:
        super().__init__()
        self.settings = s = settings
        self.register_buffer("window", torch.hann_window(s.window).clone())
        self.register_buffer("filters", mel_filters(s.n_bands, s.n_fft, s.rate, s.lowest, s.highest).clone())

    def forward(self, samples: Tensor) -> Tensor:
        s = self.settings
        wave = F.pad(samples, (s.n_fft // 2, s.n_fft // 2))
        frames = torch.stft(wave, s.n_fft, s.hop, s.window, self.window, center=False, return_complex=True)
        log_mel = torch.log(self.filters @ frames.abs().square() + 1e-6)
        deviation = log_mel.std((1, 2), keepdim=True).clamp_min(1e-5)
        log_mel = (log_mel - log_mel.mean((1, 2), keepdim=True)) / deviation
        fitted = _centred(log_mel, s.n_frames).unsqueeze(1)
        return F.avg_pool2d(fitted, s.pool) if s.pool > 1 else fitted


def _centred(values: Tensor, n: int) -> Tensor:
    """``[..., n]``: short ones between zeros, long ones without both ends; no branch, which a program has none of."""
    longer = torch.scalar_tensor(values.shape[-1], dtype=torch.int64) - n
    first = torch.div(longer, 2, rounding_mode="trunc") + n
    return F.pad(values, (n, n)).index_select(-1, torch.arange(n) + first)


class FromPixels(nn.Module):
    """``pixels`` ``[n, h, w, 3]`` uint8 as ``[n, channels, height, width]``, as Pillow scales them (to one of
    256 levels): a weighted sum of columns, rounded to 8 bit, then of rows.

    Args:
        settings: ``height``, ``width``, ``channels`` (1 = grey, 3 = RGB), ``mean``, ``deviation``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = settings["height"], settings["width"]
        self.is_grey = settings["channels"] == 1
        self.mean, self.deviation = settings["mean"], settings["deviation"]

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.to(torch.float64).permute(0, 3, 1, 2)
        if self.is_grey:  # Pillow's weights of red, green and blue, of 65,536
            red, green, blue = x[:, 0:1], x[:, 1:2], x[:, 2:3]
            x = torch.floor((red * 19595 + green * 38470 + blue * 7471 + 32768) / 65536)
        x = _eight_bit(x @ _scaling(x.shape[3], self.size[1]).transpose(0, 1))
        x = _eight_bit(_scaling(x.shape[2], self.size[0]) @ x)
        return (x.to(torch.float32) / 255 - self.mean) / self.deviation


def _eight_bit(values: Tensor) -> Tensor:
    return torch.floor(values + 0.5).clamp(0, 255)


def _scaling(n: int, to: int) -> Tensor:
    """``[to, n]``: how much of each pixel goes into each of fewer or more, bilinear, with Pillow's rounding."""
    scale = torch.scalar_tensor(n, dtype=torch.float64) / to
    reach = scale.clamp(min=1.0)
    centre = (torch.arange(to, dtype=torch.float64) + 0.5) * scale
    place = torch.arange(n, dtype=torch.float64)
    weights = (1 - ((place[None] - centre[:, None] + 0.5) / reach).abs()).clamp(min=0.0)
    weights = weights / weights.sum(1, keepdim=True)
    return torch.floor(weights * 2**_BITS + 0.5) / 2**_BITS


def save_preprocessing(settings: Mapping[str, Any], folder: Path) -> bool:
    """Write what makes inputs of raw samples or pixels; False for samples that have none (tables, texts, series, kinds
    of the user's own, settings that are not whole)."""
    made = _made(settings)
    if made is None:
        return False
    name, example = made[1]
    answer = Answer(made[0].eval(), "prediction")
    save_program(answer, {name: example}, folder, PREPARING, (PREPARING_WEIGHTS, PREPARING_WEIGHTS))
    return True


def _made(settings: Mapping[str, Any]) -> tuple[nn.Module, tuple[str, Tensor]] | None:
    kind = settings.get("kind")
    if kind == "log_mel":
        known = {f.name: settings[f.name] for f in fields(LogMel) if f.name in settings}
        log_mel = LogMel(**known)
        length = log_mel.n_fft + log_mel.hop * log_mel.n_frames
        return FromSamples(log_mel), ("samples", torch.linspace(-1, 1, 2 * length).view(2, length))
    whole = all(name in settings for name in ("height", "width", "channels", "mean", "deviation"))
    plain = all(isinstance(settings.get(name), int | float) for name in ("mean", "deviation"))
    if kind == "image" and whole and plain and settings["channels"] in (1, 3):
        return FromPixels(settings), ("pixels", torch.zeros(2, 37, 53, 3, dtype=torch.uint8))
    return None
