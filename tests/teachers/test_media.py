"""Pictures and sounds as data URLs; their identity is their content."""

from __future__ import annotations

import base64
import io
import wave

import numpy as np
import pytest
import torch
from PIL import Image
from raw_files import write_grating, write_tone

from limbeck.errors import DataError
from limbeck.teachers.media import media_of
from limbeck.teachers.wave_files import read_wave_file, wave_file

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def pixels_of(media) -> np.ndarray:
    head, _, body = media.data_url().partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def test_every_form_of_one_picture_arrives_as_it_is_and_counts_as_one():
    chw = torch.from_numpy(PIXELS).permute(2, 0, 1)
    forms = [Image.fromarray(PIXELS), PIXELS, chw, chw.float() / 255, (chw.double() / 255).numpy()]
    found = [media_of(form) for form in forms]
    for media in found:
        assert (pixels_of(media) == PIXELS).all()
    assert len({str(media) for media in found}) == 1
    changed = PIXELS.copy()
    changed[0, 0, 0] ^= 1
    assert str(media_of(changed)) != str(found[0])
    assert media_of(PIXELS[..., 0]).part()["image_url"]["url"].startswith("data:image/png")


def test_files_are_known_by_their_bytes(tmp_path):
    write_grating(tmp_path / "a.png", 1)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.png").read_bytes())  # a wrong name
    Image.fromarray(PIXELS).save(tmp_path / "c.bmp")
    Image.fromarray(PIXELS).save(tmp_path / "d.jpg")
    first, second = media_of(str(tmp_path / "a.png")), media_of(tmp_path / "b.jpg")
    assert first == second
    assert first.data == (tmp_path / "a.png").read_bytes()
    assert (pixels_of(media_of(str(tmp_path / "c.bmp"))) == PIXELS).all()  # servers read no BMP
    assert media_of(str(tmp_path / "d.jpg")).format == "jpeg"
    undecoded = {"bytes": first.data, "path": None}
    assert media_of(undecoded) == first == media_of(first.data_url())
    write_grating(tmp_path / "a.png", 2)
    assert str(media_of(str(tmp_path / "a.png"))) != str(first)


def test_sounds(tmp_path):
    samples = np.sin(np.arange(400) / 9).astype(np.float32)
    media = media_of({"array": samples, "sampling_rate": 8000})
    part = media.part()["input_audio"]
    with wave.open(io.BytesIO(base64.b64decode(part["data"]))) as file:
        assert (part["format"], file.getframerate(), file.getnframes()) == ("wav", 8000, 400)
    (tmp_path / "s.wav").write_bytes(media.data)
    assert np.abs(read_wave_file(tmp_path / "s.wav")["array"] - samples).max() < 1e-4
    other = media_of({"array": torch.from_numpy(samples), "sampling_rate": 16000})
    assert str(other) != str(media)
    write_tone(tmp_path / "t.wav", 3)
    assert media_of(str(tmp_path / "t.wav")).data == (tmp_path / "t.wav").read_bytes()
    import soundfile

    soundfile.write(tmp_path / "u.flac", samples, 8000)
    assert media_of(tmp_path / "u.flac").format == "wav"
    loud = wave_file(np.array([2.0, -1.0]), 8000)
    (tmp_path / "loud.wav").write_bytes(loud)
    assert read_wave_file(tmp_path / "loud.wav")["array"] == pytest.approx([1.0, -0.5], abs=1e-3)


@pytest.mark.parametrize(
    "text", ["a cat", "logo.png", "see and/or read", 3, 0.5, None, True, np.float32(1), ["a"]]
)
def test_what_is_neither(text):
    assert media_of(text) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("folder/none.png", "no file folder/none.png"),
        (np.full((3, 4, 4), 2.0), "from 0 to 1"),
        (np.full((3, 4, 4), np.nan), "from 0 to 1"),
        (np.zeros((3, 4, 4), dtype=np.int64), "uint8"),
        (np.zeros((2, 4, 5), dtype=np.uint8), "is no picture"),
        (b"nothing known", "cannot be read as a picture"),
        ({"array": np.zeros(4)}, "needs its rate"),
        ({"array": np.full(4, np.nan), "sampling_rate": 8000}, "NaN"),
        ("data:image/png;base64,###", "data URL"),
    ],
)
def test_what_cannot_be_sent_is_a_sentence(value, words):
    with pytest.raises(DataError, match=words):
        media_of(value)


def test_a_long_text_that_ends_like_a_file_is_no_crash():
    with pytest.raises(DataError, match="no file"):
        media_of("x" * 300 + "/a.png")
    assert media_of("x" * 300 + ".png") is None
