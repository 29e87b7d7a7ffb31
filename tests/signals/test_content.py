"""The content of an input covers all that changes what is seen or heard, and nothing else."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch

from limbeck.errors import UnreadableRowsError
from limbeck.signals.content import content_bytes, media_start
from limbeck.signals.fingerprint import input_digests

Image = pytest.importorskip("PIL.Image")


def digest(value) -> bytes:
    return input_digests({"x": [value]}, 1).tobytes()


def palette(*colours: int, **info):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([*colours])
    image.info.update(info)
    return image


def turned(orientation: int):
    image = Image.new("RGB", (4, 4), (9, 9, 9))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    return image


def test_pictures_that_look_different_differ():
    looks = [
        palette(255, 0, 0, 0, 0, 0),
        palette(0, 0, 255, 0, 0, 0),
        palette(255, 0, 0, 0, 0, 0, transparency=0),
        turned(1),
        turned(6),
        turned(3),
        Image.new("RGB", (4, 4), (9, 9, 8)),
        Image.new("RGB", (2, 8), (9, 9, 9)),
        Image.new("L", (4, 4), 9),
        Image.new("RGBA", (4, 4), (9, 9, 9, 0)),
        Image.new("I;16", (4, 4), 9),
    ]
    assert len({digest(image) for image in looks}) == len(looks)


def test_plain_pictures_are_hashed_as_before():
    image = Image.new("RGB", (4, 3), (1, 2, 3))
    assert content_bytes(image) == b"RGB(4, 3)" + image.tobytes()
    assert content_bytes("a café") == json.dumps("a café").encode()
    assert content_bytes(turned(1)) == content_bytes(Image.new("RGB", (4, 4), (9, 9, 9)))


def test_a_file_counts_with_its_bytes_wherever_it_lies_and_however_it_is_named(tmp_path, monkeypatch):
    file = io.BytesIO()
    Image.new("L", (2, 2), 7).save(file, format="PNG")
    for name in ("a.png", "b.jfif"):
        (tmp_path / name).write_bytes(file.getvalue())
    monkeypatch.chdir(tmp_path)
    forms = [
        "a.png",
        " a.png ",
        str(tmp_path / "b.jfif"),
        {"bytes": file.getvalue(), "path": "gone"},
        {"bytes": None, "path": str(tmp_path / "a.png")},
        file.getvalue(),
        tmp_path / "a.png",
        memoryview(file.getvalue()),
    ]
    assert len({digest(form) for form in forms}) == 1
    (tmp_path / "a.png").write_bytes(file.getvalue() + b"\0")
    assert digest("a.png") != digest(forms[3])


def test_a_text_that_names_no_picture_is_a_text(tmp_path, monkeypatch):
    (tmp_path / "notes.md").write_text("hello")
    monkeypatch.chdir(tmp_path)
    before = digest("notes.md")
    (tmp_path / "notes.md").write_text("changed")
    assert digest("notes.md") == before
    assert digest("a/b.png") != digest("a/c.png")


def test_sounds_count_with_their_rate():
    wave = np.zeros(4, np.float32)
    looks = [
        {"array": wave, "sampling_rate": 8000},
        {"array": wave, "sampling_rate": 16000},
        {"array": wave.astype(np.int16), "sampling_rate": 8000},
        {"array": wave[:3], "sampling_rate": 8000},
    ]
    assert len({digest(sound) for sound in looks}) == len(looks)


def test_lists_of_pictures_and_arrays_are_hashed_by_what_they_hold():
    one, other = Image.new("L", (2, 2), 1), Image.new("L", (2, 2), 2)
    assert digest([one, one]) == digest([one.copy(), one.copy()])  # no address
    assert digest([one, one]) != digest([one, other])
    long = np.zeros(5000)
    changed = long.copy()
    changed[2500] = 1  # in the part that a repr leaves out
    assert digest([long]) != digest([changed])
    assert digest([torch.tensor(long)]) != digest([torch.tensor(changed)])
    assert digest(np.array(["a", None], dtype=object)) == digest(np.array(["a", None], dtype=object))


def test_a_picture_that_cannot_be_read_is_a_row(tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(
        file, format="PNG"
    )
    lazy = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(UnreadableRowsError, match="column 'x' a picture cannot be read") as caught:
        input_digests({"x": [Image.new("L", (1, 1)), lazy]}, 2)
    assert caught.value.rows == (1,)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\xff\xd8\xff\xe0", "image"),
        (b"GIF89a", "image"),
        (b"RIFF\0\0\0\0WEBP", "image"),
        (b"II*\0\x08", "image"),
        (b"\0\0\0\x1cftypavif", "image"),
        (b"BM\x9a\0\0\0\0\0\0\0", "image"),
        (b"RIFF\0\0\0\0WAVE", "audio"),
        (b"FORM\0\0\0\0AIFF", "audio"),
        (b"fLaC", "audio"),
        (b"OggS", "audio"),
        (b"ID3\x04", "audio"),
        (b"\xff\xfb\x90", "audio"),
        (b"\xff\xf1\x50", "audio"),
        (b"\0\0\0\x20ftypM4A ", "audio"),
        (b"BMW is a car maker", None),
        (b"\xff\xfei\0d\0", None),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"<html>", None),
        (b"", None),
        (b"id,text", None),
        (b"%PDF-1.7", None),
    ],
)
def test_files_are_known_by_their_first_bytes(head, kind):
    assert media_start(head) == kind
