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


# ---- what is sent is what people see ------------------------------------------------------------------------------


def sent(media) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(media.data)).convert("RGB")).astype(int)


def saved(path, image, **how):
    image.save(path, **how)
    return path


def test_a_file_is_known_by_looking_whatever_it_is_called(tmp_path, monkeypatch):
    image = Image.fromarray(PIXELS)
    for name in ("p.jfif", "photo", "p.dat", "my photo.jpg"):
        saved(tmp_path / name, image, format="JPEG")
        for cell in (
            str(tmp_path / name),
            f"  {tmp_path / name} ",
            f"file://{tmp_path / name}".replace(" ", "%20"),
        ):
            assert media_of(cell).format == "jpeg"
    monkeypatch.chdir(tmp_path)
    assert media_of("photo").data == (tmp_path / "photo").read_bytes()
    (tmp_path / "README").write_text("a word that is a file by chance")
    (tmp_path / "broken.png").write_text("<html>")
    assert media_of("README") is None
    for cell in ("broken.png", "./README"):
        with pytest.raises(DataError, match="cannot be read as a picture"):
            media_of(cell)


@pytest.mark.parametrize(
    "text",
    [
        "so cute https://pics.example/abc.jpg",
        "see docs/logo.png",
        "logo.png",
        "and/or",
        "https://x.example",
        "a\nb/c.png",
        "~",
    ],
)
def test_texts_about_files_stay_texts(text):
    assert media_of(text) is None


def test_links_are_links():
    media = media_of(" https://pics.example/abc.jpg?size=2 ")
    assert media.part() == {"type": "image_url", "image_url": {"url": "https://pics.example/abc.jpg?size=2"}}
    assert str(media) != str(media_of("https://pics.example/abd.jpg"))
    for link in ("https://x.example/a.mp3", "s3://bucket/a.png"):
        with pytest.raises(DataError, match="is a link, and no server fetches it"):
            media_of(link)
    with pytest.raises(DataError, match="is a link"):
        media_of({"path": "https://x.example/a.png", "bytes": None})


def test_a_photo_is_sent_upright_and_stays_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    half = np.zeros((20, 40, 3), np.uint8)
    half[:, :20] = 255
    media = media_of(saved(tmp_path / "e.jpg", Image.fromarray(half), exif=exif, quality=95))
    assert media.format == "jpeg"
    assert sent(media).shape == (40, 20, 3)
    assert sent(media)[:15].min() > 240
    plain = media_of(saved(tmp_path / "p.jpg", Image.fromarray(half), quality=95))
    assert plain.data == (tmp_path / "p.jpg").read_bytes()
    assert media.digest != plain.digest


def test_depth_transparency_palettes_and_frames(tmp_path):
    ramp = np.linspace(0, 65535, 64).reshape(8, 8)
    for image in (
        Image.fromarray(ramp.astype(np.uint16)),
        Image.fromarray((ramp / 65535).astype(np.float32)),
    ):
        for media in (media_of(image), media_of(saved(tmp_path / "g.tif", image))):
            assert media.format == "png"
            assert abs(sent(media).mean() - 127.5) < 1
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert sent(media_of(clear)).min() == 255
    assert sent(media_of(saved(tmp_path / "c.png", clear))).min() == 255
    two = [Image.new("L", (4, 4), value) for value in (200, 10)]
    two[0].save(tmp_path / "m.gif", save_all=True, append_images=two[1:])
    assert media_of(tmp_path / "m.gif").format == "png"
    assert np.unique(sent(media_of(tmp_path / "m.gif"))).tolist() == [200]
    for colour in ([255, 0, 0], [0, 0, 255]):
        image = Image.new("P", (8, 8), 0)
        image.putpalette(colour + [0] * 765)
        assert sent(media_of(image))[0, 0].tolist() == colour
        assert str(media_of(image)) == str(media_of(Image.new("RGB", (8, 8), tuple(colour))))
    cmyk = media_of(saved(tmp_path / "c.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95))
    assert sent(cmyk)[0, 0, 0] > 240


def test_broken_files_are_told_before_they_are_paid_for(tmp_path):
    import soundfile

    rng = np.random.default_rng(0)
    for name in ("a.jpg", "a.png", "a.gif", "a.webp"):
        whole = saved(
            tmp_path / name, Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        ).read_bytes()
        with pytest.raises(DataError, match="cannot be read as a picture"):
            media_of(whole[: len(whole) // 2])
    soundfile.write(tmp_path / "s.wav", np.zeros(4000), 8000)
    whole = (tmp_path / "s.wav").read_bytes()
    for data, words in (
        (whole[:4000], "cut short"),
        (b"RIFF0000WAVEjunk", "cannot be read"),
        (b"", "empty file"),
    ):
        with pytest.raises(DataError, match=words):
            media_of(data)


def test_integer_samples_are_scaled_and_their_channels_heard():
    wave_ = (0.25 * np.sin(np.arange(400) / 9) * 32767).astype(np.int16)
    for form in (wave_, np.stack([wave_, wave_]), wave_.tolist()):
        media = media_of({"array": form, "sampling_rate": 8000.0})
        with wave.open(io.BytesIO(media.data)) as file:
            assert file.getframerate() == 8000
            assert file.getnchannels() == np.ndim(form)
            stored = np.frombuffer(file.readframes(400), "<i2")
        assert abs(int(stored.max()) - int(wave_.max())) <= 2
