"""Reading a user's own folders and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from limbeck.data import folder
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.signals import UNLABELLED


def write_wave(path: Path, *, rate: int = 8000, samples: int = 4000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(samples), rate)


@pytest.fixture
def sounds(tmp_path):
    """Classes cat and dog with three good clips each."""
    for name in ("cat", "dog"):
        for i in range(3):
            write_wave(tmp_path / "sounds" / name / f"{i}.wav")
    return tmp_path / "sounds"


def spoil(sounds: Path) -> None:
    (sounds / "cat" / "zero.wav").write_bytes(b"")
    (sounds / "cat" / "noise.wav").write_bytes(bytes(range(256)))
    write_wave(sounds / "dog" / "short.wav", samples=20)
    write_wave(sounds / "dog" / "fast.wav", rate=16000)


def test_class_sub_folders(sounds):
    write_wave(sounds / "unlabelled" / "x.wav")
    data = folder(sounds, "audio")
    assert data.examples.class_names == ("cat", "dog")
    assert data.examples.keys[0] == "cat/0"
    assert data.examples.labels.tolist() == [0, 0, 0, 1, 1, 1, UNLABELLED]
    assert data.examples.inputs["x"].shape == (7, 1, 32, 32)
    assert data.report["rows_by_class"] == {"cat": 3, "dog": 3}
    assert (data.report["read"], data.report["unlabelled"], data.report["skipped"]) == (7, 1, {})


def test_bad_files_are_counted_and_named(sounds):
    spoil(sounds)
    with pytest.raises(DataError) as caught:
        folder(sounds, "audio")
    message = str(caught.value)
    assert message.startswith("4 of 10 rows of ")
    assert "noise.wav cannot be read as audio" in message
    assert "zero.wav is an empty file" in message
    assert "and 1 more" in message
    assert "on_error='skip'" in message


def test_bad_files_are_skipped_only_if_asked(sounds):
    spoil(sounds)
    data = folder(sounds, "audio", on_error="skip")
    assert len(data.examples) == data.report["read"] == 6
    assert set(data.report["skipped"]) == {
        "cat/zero.wav",
        "cat/noise.wav",
        "dog/short.wav",
        "dog/fast.wav",
    }
    assert "too short" in data.report["skipped"]["dog/short.wav"]
    assert "16000" in data.report["skipped"]["dog/fast.wav"]
    assert len(folder(sounds, "audio", on_error="skip", resample=True).examples) == 7


def test_nothing_readable_is_an_error_even_when_skipping(sounds):
    for path in sounds.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="6 of 6 rows"):
        folder(sounds, "audio", on_error="skip")


def test_csv_with_keys_files_labels_and_groups(sounds):
    lines = ["key,file,label,group", "a,cat/0.wav,cat,s1", "b,dog/1.wav,dog,s1", "c,dog/2.wav,,", ""]
    (sounds / "list.csv").write_text("\n".join(lines))
    for path in (sounds, sounds / "list.csv"):
        data = folder(path, "audio")
        assert data.examples.keys == ("a", "b", "c")
        assert data.examples.labels.tolist() == [0, 1, UNLABELLED]
        assert data.groups == {"a": "s1", "b": "s1"}
    (sounds / "list.csv").write_text("name,what\ncat/0.wav,cat\ndog/1.wav,dog\n")
    data = folder(sounds, "audio", file="name", label="what")
    assert data.examples.keys == ("cat/0", "dog/1")


@pytest.mark.parametrize(
    ("text", "settings", "error", "words"),
    [
        ("file,lable\ncat/0.wav,cat\n", {}, UnknownNameError, "no column 'label'; did you mean 'lable'"),
        ("file,label\n", {}, DataError, "no rows below its header"),
        ("", {}, DataError, "no rows below its header"),
        ("key,file,label\na,cat/0.wav,cat\na,dog/0.wav,dog\n", {}, DataError, "more than once: 'a'"),
        ("file,label\ncat/0.wav,cat\ncat/1.wav,cat\n", {}, DataError, "holds only one class"),
        ("file,label\ncat/0.wav,cat\nlost.wav,dog\n", {}, DataError, "lost.wav does not exist"),
        ("file,label\ncat/0.wav,cat\n,dog\n", {}, DataError, "line 3 .* names no file"),
        (
            "file,label\ncat/0.wav,cow\ncat/1.wav,dog\n",
            {"class_names": ["cat", "dog"]},
            DataError,
            "the label 'cow', no class name",
        ),
        ("file,label\ncat/0.wav,cat\n", {"class_names": ["cat", "cat"]}, ConfigError, "different names"),
    ],
)
def test_bad_csv(sounds, text, settings, error, words):
    (sounds / "list.csv").write_text(text)
    with pytest.raises(error, match=words) as caught:
        folder(sounds, "audio", **settings)
    assert "\n" not in str(caught.value)


def test_bad_folders(tmp_path, sounds):
    with pytest.raises(DataError, match="neither a folder nor"):
        folder(tmp_path / "lost", "audio")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class sub-folders"):
        folder(tmp_path / "empty", "audio")
    (tmp_path / "empty" / "cat").mkdir()
    with pytest.raises(DataError, match="no file in them"):
        folder(tmp_path / "empty", "audio")
    (sounds / "a.csv").write_text("x")
    (sounds / "b.csv").write_text("x")
    with pytest.raises(DataError, match=r"several CSV files \('a.csv', 'b.csv'\)"):
        folder(sounds, "audio")
    with pytest.raises(UnknownNameError, match="did you mean 'audio'"):
        folder(sounds, "audo")
    with pytest.raises(ConfigError, match="valid ones: error, skip"):
        folder(sounds, "audio", on_error="ignore")
    (sounds / "b.csv").unlink()
    (sounds / "a.csv").write_bytes(b"file,label\n\xff\xfe.wav,cat\n")
    with pytest.raises(DataError, match="cannot be read as a CSV in UTF-8"):
        folder(sounds, "audio")


def test_images(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    for value, name in ((0, "dark"), (255, "light")):
        (tmp_path / name).mkdir()
        grey = np.full((5, 9), value, dtype=np.uint8)
        image_module.fromarray(grey).save(tmp_path / name / "a.png")
    data = folder(tmp_path, "image", size=(8, 6), channels=3)
    assert data.examples.inputs["x"].shape == (2, 3, 8, 6)
    assert data.examples.inputs["x"].amin((1, 2, 3)).tolist() == [-1, 1]


def test_tables(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("key,label,height,weight\na,cat,1.5,2\nb,dog,-3,4e1\n")
    data = folder(table, "table")
    assert torch.equal(data.examples.inputs["x"], torch.tensor([[1.5, 2.0], [-3.0, 40.0]]))
    table.write_text("key,label,height\na,cat,tall\nb,dog,3\nc,dog,nan\n")
    with pytest.raises(DataError, match=r"2 of 3 rows .*line 2 .*'tall' in column 'height'"):
        folder(table, "table")
    assert folder(table, "table", on_error="skip", class_names=["cat", "dog"]).examples.keys == ("b",)
    table.write_text("key,label\na,cat\nb,dog\n")
    with pytest.raises(DataError, match="no columns of numbers"):
        folder(table, "table")
