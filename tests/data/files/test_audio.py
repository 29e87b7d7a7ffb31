"""Reading waves and making spectrograms of them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from limbeck.data.files.audio import LogMel, mel_filters, read_wave, resampled
from limbeck.errors import DataError


def tone(hertz: float, seconds: float = 0.5, rate: int = 8000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def test_filters_are_triangles_over_the_band():
    bank = mel_filters(64, 512, 8000, 60.0, 4000.0)
    assert bank.shape == (64, 257)
    assert torch.all(bank >= 0)
    assert torch.all(bank <= 1)
    assert torch.all(bank.sum(1) > 0), "every band must hear something"
    assert torch.all(bank.argmax(1).diff() >= 0)
    assert torch.all(bank[:, :4] == 0), "nothing below 60 Hz"


def test_a_tone_is_heard_in_its_band():
    features = LogMel(pool=1)
    for hertz in (300.0, 1000.0, 3000.0):
        spectrogram = features(torch.from_numpy(tone(hertz)))[0]
        band = int(spectrogram[:, 32].argmax())
        bank = mel_filters(64, 512, 8000, 60.0, 4000.0)
        peak = float(bank[band].argmax()) * 8000 / 512
        assert abs(peak - hertz) < 0.08 * hertz


def test_shape_and_standardisation():
    clip = torch.from_numpy(tone(500.0, seconds=0.635)) + 0.01 * torch.randn(5080)
    features = LogMel()
    assert features(clip).shape == (1, 32, 32)
    whole = LogMel(pool=1)(clip)
    assert whole.shape == (1, 64, 64), "5080 samples are exactly 64 frames of hop 80"
    assert whole.mean().item() == pytest.approx(0, abs=1e-4)
    assert whole.std().item() == pytest.approx(1, abs=1e-3)
    assert torch.allclose(features(clip), features(0.1 * clip), atol=0.1), "loudness must hardly matter"


def test_short_clips_are_padded_and_long_ones_cut_around_the_middle():
    features = LogMel(pool=1)
    short = features(torch.from_numpy(tone(500.0, seconds=0.2)))[0]  # 21 frames
    assert torch.all(short[:, :21] == 0)
    assert torch.all(short[:, 42:] == 0)
    assert short[:, 21:42].abs().sum() > 0
    for seconds in (0.64, 0.65, 2.0):
        assert features(torch.from_numpy(tone(500.0, seconds=seconds))).shape == (1, 64, 64)


def test_silence_is_finite_and_too_short_is_refused():
    assert torch.isfinite(LogMel()(torch.zeros(4000))).all()
    with pytest.raises(DataError, match="100 samples"):
        LogMel()(torch.zeros(100))


def test_resampling_keeps_a_tone():
    wave = resampled(tone(400.0, rate=22050), 22050, 8000)
    assert len(wave) == 4000
    assert np.abs(wave[200:-200] - tone(400.0)[200:-200]).max() < 0.02


def test_stereo_is_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(400.0), np.zeros(4000)], 1), 8000)
    assert read_wave(tmp_path / "a.wav", 8000).abs().max().item() == pytest.approx(0.25, abs=0.01)


def test_each_bad_file_has_its_sentence(tmp_path):
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "fast.wav", tone(400.0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([np.nan] * 500), 8000, subtype="FLOAT")
    expected = {
        "zero.wav": "empty file",
        "text.wav": "cannot be read as audio",
        "none.wav": "zero length",
        "fast.wav": "16000 samples a second where 8000 are expected; pass resample=True",
        "nan.wav": "not finite",
        "lost.wav": "does not exist",
    }
    for name, words in expected.items():
        with pytest.raises(DataError, match=words) as caught:
            read_wave(tmp_path / name, 8000)
        assert name in str(caught.value)
    assert len(read_wave(tmp_path / "fast.wav", 8000, resample=True)) == 2000
