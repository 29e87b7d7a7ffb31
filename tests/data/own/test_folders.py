"""Reading a user's own folders and tables."""

from __future__ import annotations

import json
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


FAULTS = {
    "too many": (
        "key,label,a\nk0,x,1,5\nk1,y,2\nk2,x,3\n",
        r"1 of 3 rows .*line 2 of .* has 4 cells for 3 columns",
    ),
    "too many everywhere": (
        "key,label,a\nk0,x,1,5\nk1,y,2,5\n",
        r"2 of 2 rows .*line 2 of .* has 4 cells for 3 columns",
    ),
    "too few": ("key,label,a\nk0,x\nk1,y,2\nk2,x,3\n", "line 2 of .* has 2 cells for 3 columns"),
    "decimal commas": (
        "key;label;a\nk0;x;1,5\nk1;y;2\n",
        r"line 2 .* has '1,5' in column 'a', where a number is needed \(write .* point",
    ),
    "underscores": ("key,label,a\nk0,x,1_000\nk1,y,2\n", "'1_000' in column 'a'"),
    "an empty cell": ("key,label,a\nk0,x,\nk1,y,2\n", "line 2 .* has nothing in column 'a'"),
    "beyond float32": ("key,label,a,b\nk0,x,1,1e300\nk1,y,2,3\n", "not finite in column 'b'"),
    "a column twice": ("key,label,a,a\nk0,x,1,5\n", "the column 'a' twice"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_a_table_of_numbers_are_named(case, tmp_path):
    content, words = FAULTS[case]
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        folder(tmp_path / "t.csv", "table")
    assert "\n" not in str(caught.value)


def test_lines_that_do_not_fit_are_left_out_only_if_asked(tmp_path):
    (tmp_path / "t.csv").write_text("key,label,a\nk0,x,1,5\nk1,y,2\n\nk2,x,3\n")
    data = folder(tmp_path / "t.csv", "table", on_error="skip")
    assert data.examples.keys == ("k1", "k2")
    assert list(data.report["skipped"]) == ["line 2"]


@pytest.mark.parametrize("name", ["t.CSV", "t.tsv", "t.jsonl", "t.parquet"])
def test_tables_of_every_kind(name, tmp_path):
    rows = [{"key": f"k{i}", "label": "ab"[i % 2], "a": float(i), "b": 2 * i} for i in range(4)]
    path = tmp_path / name
    if name.endswith("parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith("jsonl"):
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        separator = "\t" if name.endswith("tsv") else ","
        path.write_text(
            "\n".join(separator.join(map(str, line)) for line in [rows[0], *(r.values() for r in rows)])
        )
    data = folder(path, "table")
    assert data.examples.inputs["x"].tolist() == [[i, 2 * i] for i in range(4)]
    assert data.examples.keys == ("k0", "k1", "k2", "k3")


def test_words_for_nothing_are_classes_and_keys_keep_their_zeros(sounds):
    (sounds / "list.csv").write_text(
        "key,file,label\n007,cat/0.wav,None\n7,cat/1.wav,NA\n8,dog/0.wav,null\n9,dog/1.wav,\n"
    )
    data = folder(sounds, "audio")
    assert data.examples.class_names == ("NA", "None", "null")
    assert data.examples.keys == ("007", "7", "8", "9")
    assert data.examples.labels.tolist() == [1, 0, 2, UNLABELLED]


def test_a_link_in_a_table_is_not_fetched(sounds):
    (sounds / "list.csv").write_text("file,label\nhttps://x.example/a.wav,cat\ndog/1.wav,dog\n")
    with pytest.raises(DataError, match="is a link, and links are not fetched"):
        folder(sounds, "audio")
