"""One way from a sound to samples: depth, channels and rates of files and arrays, and broken ones named."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch

from limbeck.data.files.audio import read_wave
from limbeck.data.files.media import to_samples
from limbeck.data.files.sounds import check_sound, read_sound, samples_of
from limbeck.errors import DataError

soundfile = pytest.importorskip("soundfile")
TONE = (0.5 * np.sin(np.arange(2000) / 9)).astype(np.float32)


def sound_file(wave=TONE, rate: int = 8000, **how) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, **{"format": "WAV", "subtype": "PCM_16", **how})
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "subtype", "within"),
    [
        ("WAV", "PCM_U8", 2 / 128),
        ("WAV", "PCM_16", 2 / 2**15),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAV", "ULAW", 0.03),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 2 / 2**15),
        ("OGG", "VORBIS", 0.1),
        ("CAF", "PCM_16", 2 / 2**15),
        ("AU", "PCM_16", 2 / 2**15),
    ],
)
def test_files_of_every_depth(kind, subtype, within, tmp_path):
    data = sound_file(format=kind, subtype=subtype)
    (tmp_path / "a.file").write_bytes(data)  # known by its bytes
    for value in (data, tmp_path / "a.file", str(tmp_path / "a.file"), {"bytes": data, "path": None}):
        wave, rate = to_samples(value)
        assert rate == 8000
        assert wave.dtype == np.float32
        assert np.abs(wave - TONE).max() <= within


@pytest.mark.parametrize(
    ("dtype", "silence", "loudest"),
    [("int16", 0, 2**15), ("int32", 0, 2**31), ("int8", 0, 2**7), ("uint8", 128, 2**7), (">i2", 0, 2**15)],
)
def test_integers_are_scaled_by_their_range(dtype, silence, loudest):
    stored = np.round(TONE * (loudest - 1) + silence).astype(dtype)
    assert np.abs(samples_of(stored) - TONE).max() <= 2 / loudest + 1e-6
    assert np.abs(to_samples({"array": stored, "sampling_rate": 8000})[0] - TONE).max() <= 2 / loudest + 1e-6


def test_lists_of_whole_numbers_are_of_16_bit_or_else_of_32():
    assert np.abs(samples_of(np.round(TONE * 32767).astype(int).tolist()) - TONE).max() < 1e-4
    assert np.abs(samples_of(np.round(TONE * (2**31 - 1)).astype(int).tolist()) - TONE).max() < 1e-4
    with pytest.raises(DataError, match="samples up to"):
        samples_of([0, 2**40])


def test_channels_are_averaged_however_they_lie(tmp_path):
    wide = np.stack([TONE, np.zeros_like(TONE)])
    for form in (wide, wide.T, torch.from_numpy(wide), wide.tolist(), (wide * 32767).astype(np.int16)):
        assert np.abs(samples_of(form) - TONE / 2).max() < 1e-4
    (tmp_path / "s.wav").write_bytes(sound_file(wide.T))
    assert np.abs(read_wave(tmp_path / "s.wav", 8000).numpy() - TONE / 2).max() < 1e-4
    assert np.abs(read_sound(sound_file(wide.T), "s")[0] - TONE / 2).max() < 1e-4
    assert np.array_equal(samples_of(TONE[None]), TONE)
    assert samples_of(np.zeros((2, 0))).shape == (0,)


@pytest.mark.parametrize("rate", [16000, 16000.0, np.int64(16000), "16000"])
def test_rates(rate):
    assert to_samples({"array": TONE, "sampling_rate": rate})[1] == 16000


@pytest.mark.parametrize("rate", [0, -1, 8000.5, "fast", float("nan"), 10**12, True * 0])
def test_rates_that_are_none(rate):
    with pytest.raises(DataError, match="clip has the rate"):
        to_samples({"array": TONE, "sampling_rate": rate}, "clip")


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.zeros((100, 100)),
        np.zeros((2, 2, 2)),
        np.zeros(3, complex),
        np.zeros(3, np.uint16),
        [[1], [1, 2]],
    ],
)
def test_arrays_that_are_no_sound(array):
    with pytest.raises(DataError, match="clip"):
        to_samples({"array": array, "sampling_rate": 8000}, "clip")


BROKEN = {
    "empty": (b"", "empty file"),
    "a lie": (b"RIFF0000WAVEjunk", "cannot be read as audio"),
    "a web page": (b"<html>no</html>", "a web page"),
    "no samples": (sound_file(TONE[:0]), "zero length"),
    "cut": (sound_file()[:-500], "cut short"),
    "cut flac": (sound_file(format="FLAC")[:-900], "cut short|cannot be read"),
    "NaN": (sound_file(np.full(9, np.nan), subtype="FLOAT"), "not finite"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_a_sentence(case, tmp_path):
    data, words = BROKEN[case]
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    for read in (
        lambda: read_sound(path, str(path)),
        lambda: read_wave(path, 8000),
        lambda: to_samples(str(path)),
    ):
        with pytest.raises(DataError, match=words) as caught:
            read()
        assert str(path) in str(caught.value)
    if case not in ("NaN", "cut flac"):
        with pytest.raises(DataError, match=words):
            check_sound(data, "clip")


def test_a_stream_that_did_not_know_its_length_is_whole():
    data = bytearray(sound_file())
    data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert len(read_sound(bytes(data), "s")[0]) == len(TONE)


def test_a_broken_head_says_nothing_on_the_terminal(capfd):
    data = bytearray(sound_file())
    data[16:20] = struct.pack("<I", 0xFFFFFF00)
    with pytest.raises(DataError):
        read_sound(bytes(data), "s")
    assert capfd.readouterr().err == ""


class Decoder:
    """As ``datasets`` gives a sound with torchcodec."""

    def get_all_samples(self):
        class Found:
            data, sample_rate = torch.from_numpy(np.stack([TONE, TONE])), 16000

        return Found


def test_a_decoder_of_torchcodec():
    wave, rate = to_samples(Decoder())
    assert rate == 16000
    assert np.allclose(wave, TONE)
