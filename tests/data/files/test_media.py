"""What a value is, is found by looking: files by their bytes, texts and links by what they say."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import write_grating, write_tone

from limbeck.data.files.media import file_of, is_called_like_media, is_link, kind_of_value
from limbeck.errors import DataError


@pytest.fixture
def files(tmp_path):
    write_grating(tmp_path / "a.png", 1)
    write_tone(tmp_path / "b.wav", 1)
    return tmp_path


def test_kinds(files):
    from PIL import Image

    picture, sound = (files / "a.png").read_bytes(), (files / "b.wav").read_bytes()
    images = [
        Image.new("L", (2, 2)),
        picture,
        files / "a.png",
        {"bytes": picture, "path": None},
        {"path": str(files / "a.png")},
        np.zeros((4, 4, 3)),
        torch.zeros(3, 4, 4),
    ]
    assert [kind_of_value(value) for value in images] == ["image"] * len(images)
    sounds = [
        sound,
        files / "b.wav",
        {"bytes": sound},
        {"array": [0.0]},
        [0.0, 1.0],
        np.zeros(5),
        np.zeros((2, 5)),
    ]
    assert [kind_of_value(value) for value in sounds] == ["audio"] * len(sounds)
    assert [kind_of_value(value) for value in ("a cat", str(files / "a.png"), "")] == ["text"] * 3
    assert kind_of_value({"bytes": b"<html>", "path": None}) == "file"
    assert kind_of_value(files / "none") == "file"
    assert [kind_of_value(v) for v in (None, 3, {"bytes": None, "path": None}, {"text": "a"}, {1})] == [
        None
    ] * 5


def test_the_file_that_a_value_names(files, monkeypatch):
    data = (files / "a.png").read_bytes()
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert file_of(url) == data
    assert file_of({"bytes": bytearray(data), "path": "x"}) == data
    monkeypatch.chdir(files)
    monkeypatch.setenv("HOME", str(files))
    for text in ("a.png", " a.png\t", "./a.png", "~/a.png", f"file://{files}/a.png", str(files / "a.png")):
        found = file_of(text)
        assert isinstance(found, Path)
        assert found.read_bytes() == data
    for text in ("a cat", "none.png", "a.png\nand more", "", "x" * 5000, "a\0.png", "."):
        assert file_of(text) is None
    with pytest.raises(DataError, match="is a link"):
        file_of({"path": "https://x.example/a.png"})
    with pytest.raises(DataError, match="data URL"):
        file_of("data:image/png;base64,###")


@pytest.mark.parametrize(
    "text", ["https://x.example/a.jpg", " http://x.example ", "s3://bucket/a.wav", "HTTPS://X.EXAMPLE/A"]
)
def test_links(text):
    assert is_link(text)


@pytest.mark.parametrize(
    "text", ["so cute https://x.example/a.jpg", "x.example/a.jpg", "//a/b.jpg", "http:", ""]
)
def test_texts_that_are_no_links(text):
    assert not is_link(text)


def test_texts_that_are_called_like_files():
    assert all(map(is_called_like_media, ["a.jpg", "b/c.PNG", " x.wav "]))
    assert not any(map(is_called_like_media, ["see a.jpg", "a.txt", "jpg", ".", "", "a.jpg is nice"]))
