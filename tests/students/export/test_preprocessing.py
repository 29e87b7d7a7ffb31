"""What is shipped as operators reads pictures and sounds as limbeck itself does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.data.files.audio import LogMel
from limbeck.data.files.images import pixels_of
from limbeck.students.export.preprocessing import save_preprocessing
from limbeck.students.export.program import PREPARING, PREPARING_WEIGHTS, load_program


def prepared(folder):
    return load_program(folder, PREPARING, (PREPARING_WEIGHTS,))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.full
def test_pictures_of_any_size_are_scaled_as_pillow_scales_them(channels, tmp_path):
    pil = pytest.importorskip("PIL.Image")
    form = {"height": 20, "width": 32, "channels": channels, "mean": 0.25, "deviation": 0.5}
    assert save_preprocessing({"kind": "image", **form}, tmp_path)
    program, draw = prepared(tmp_path), np.random.default_rng(0)
    # of a picture that gets wider and lower, some versions of Pillow scale the rows first
    for size, most in {
        (37, 53): 0,
        (20, 32): 0,
        (7, 5): 0,
        (1, 1): 0,
        (1, 90): 0,
        (113, 260): 0,
        (200, 31): 1,
    }.items():
        pixels = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        wanted = (pixels_of(pil.fromarray(pixels), (20, 32), channels) - 0.25) / 0.5
        found = program({"pixels": torch.from_numpy(pixels)[None]})
        assert found.shape == (1, channels, 20, 32)
        assert ((found[0] - wanted).abs() * 0.5 * 255).max().round() <= most


def test_sounds_of_any_length_become_the_same_spectrogram(tmp_path):
    log_mel = LogMel(n_bands=16, n_fft=256, window=128, hop=80, n_frames=32)
    settings = {"n_bands": 16, "n_fft": 256, "window": 128, "hop": 80, "n_frames": 32}
    assert save_preprocessing({"kind": "log_mel", **settings}, tmp_path)
    program, draw = prepared(tmp_path), torch.Generator().manual_seed(0)
    for length in (128, 129, 1000, 2479, 2480, 2481, 2560, 2561, 9000):
        wave = torch.randn(2, length, generator=draw)
        found = program({"samples": wave})
        torch.testing.assert_close(found, torch.stack([log_mel(part) for part in wave]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"kind": "table"}, {"kind": "image", "height": 3}, {"kind": "mine"}]
)
def test_other_samples_have_no_program(settings, tmp_path):
    assert not save_preprocessing(settings, tmp_path)
    assert not list(tmp_path.iterdir())
