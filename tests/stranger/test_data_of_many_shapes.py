"""Data sets of different shapes, each from files to an exported student that predicts, by the command line alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image
from raw_files import write_csv, write_tone, write_video

from limbeck.cli import main

N = 60


class Shape(NamedTuple):
    """What a stranger has, the commands before the run, and what is asked of the student at the end."""

    data: dict[str, Any]
    student: dict[str, Any]
    files: list[str]
    method: str = "fitnets"
    teacher: dict[str, Any] = {"bank": "bank"}
    first: tuple[str, ...] = ()
    answer: str = "probabilities"
    flags: tuple[str, ...] = ()


def picture(path: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 90, (8, 8, 3), dtype=np.uint8)
    pixels[..., number % 2] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def embeddings(keys: list[Any]) -> None:
    """What a closed teacher said, in a NumPy file."""
    rows = np.random.default_rng(0).normal(size=(len(keys), 4)).astype(np.float32)
    np.savez("said.npz", keys=np.array(keys), features=rows)


IMPORT = ("bank", "import", "said.npz", "--output", "bank")
CONV = {"model": "small_conv_net", "config": {"channels": [4, 8]}}
MLP = {"model": "table_encoder", "config": {"hidden": [8]}}


def numbers(label: Callable[[int], Any], *, group: bool = False) -> dict[str, Any]:
    rows = [(i, i % 7, i % 2, f"s{i // 4}", label(i)) for i in range(N)]
    write_csv(Path("n.csv"), ("id", "a", "b", "session", "found"), rows)
    side = {"source": "n.csv", "modality": "table", "input": ["a", "b"], "label": "found"}
    return side | ({"group": "session"} if group else {})


def missing_partners(text: str) -> Shape:
    write_csv(
        Path("p.csv"), ("sku", "title", "kind"), [(f"A{i}", f"a dog {i}", "xy"[i % 2]) for i in range(N)]
    )
    for i in range(N):
        if i % 5:
            picture(Path(f"photos/{'xy'[i % 2]}/A{i}.png"), i)
    side = {"source": "p.csv", "modality": "text", "input": "title", "key": "sku", "label": "kind"}
    photos = {"source": "photos", "modality": "image", "key": "stem", "size": [8, 8], "channels": 1}
    teacher = CONV | {"training": {"max_steps": 2, "n_labelled": 4}}
    data = {"student": side, "teacher": photos, "link": "partly_paired"}
    return Shape(data, {"model": text, "pooling": "mean"}, ["p.csv"], "armada", teacher)


def no_labels_of_the_teacher(_: str) -> Shape:
    embeddings(list(range(N)))
    return Shape({"student": numbers(lambda i: "ab"[i % 2]), "link": "paired"}, MLP, ["n.csv"], first=IMPORT)


def refused_rows(_: str) -> Shape:
    embeddings([i for i in range(N) if i % 6])
    return Shape({"student": numbers(lambda i: "ab"[i % 2])}, MLP, ["n.csv"], first=IMPORT)


def bags_of_recordings(_: str) -> Shape:
    Path("clips").mkdir()
    for i in range(40):
        write_tone(Path(f"clips/{i}.wav"), i % 2)
    rows = [
        (f"c{i}", f"clips/{i}.wav", f"day{i // 4}", ("low", "high")[i % 2] if i % 3 else "")
        for i in range(40)
    ]
    write_csv(Path("clips.csv"), ("clip", "file", "day", "pitch"), rows)
    write_csv(Path("seen.csv"), ("id", "day"), [(f"v{i}", f"day{i // 4}") for i in range(40)])
    embeddings([f"v{i}" for i in range(40)])
    clips = {"source": "clips.csv", "modality": "audio", "key": "clip", "label": "pitch"}
    data = {"student": clips, "teacher": {"source": "seen.csv"}, "link": {"kind": "bagged", "by": "day"}}
    return Shape(data, CONV, ["clips/3.wav"], "feature_ot", first=IMPORT)


def data_set_on_disk(_: str) -> Shape:
    import datasets

    for i in range(N):
        picture(Path(f"p/{i}.png"), i)
    rows = {
        "image": [f"p/{i}.png" for i in range(N)],
        "label": [i % 2 for i in range(N)],
        "id": list(range(N)),
    }
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["red", "green"])}
    features = datasets.Features(kinds | {"id": datasets.Value("int64")})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk("saved")
    embeddings(list(range(N)))
    side = {"source": "saved", "modality": "image", "size": [8, 8], "channels": 3}
    return Shape({"student": side, "link": "paired"}, CONV, ["p/7.png"], first=IMPORT)


def nested_folders(_: str) -> Shape:
    for i in range(N):
        role = ("train", "train", "val", "test")[i // 2 % 4]
        picture(Path(f"photos/{role}/{'xy'[i % 2]}/deep/{i}.jpg"), i)
    embeddings([f"train/{'xy'[i % 2]}/deep/{i}" for i in range(N)])
    side = {"source": "photos", "modality": "image", "size": [8, 8]}
    return Shape({"student": side}, CONV, ["photos/test/x/deep/6.jpg"], first=IMPORT)


def several_labels(text: str) -> Shape:
    lines = [{"id": i, "text": f"cup {i}", "found": ["a"] * (i % 2) + ["b"] * (i % 3 > 0)} for i in range(N)]
    Path("t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    embeddings(list(range(N)))
    side = {"source": "t.jsonl", "modality": "text", "label": "found"}
    data = {"student": side, "problem": "multilabel"}
    return Shape(data, {"model": text, "pooling": "mean"}, ["t.jsonl"], first=IMPORT, answer="classes")


def regression(_: str) -> Shape:
    embeddings(list(range(N)))
    data = {"student": numbers(lambda i: i % 7 / 7), "problem": "regression", "link": "paired"}
    return Shape(data, MLP, ["n.csv"], first=IMPORT, answer="value")


def sensors(_: str) -> Shape:
    """Readings of sensors as columns, in Parquet, with sessions that stay in one split."""
    import pandas

    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({f"t{i}": rng.normal(size=N) for i in range(12)})
    frame["run"], frame["state"] = (
        [f"r{i // 6}" for i in range(N)],
        ["ok" if i % 2 else "bad" for i in range(N)],
    )
    frame.to_parquet("s.parquet")
    embeddings(list(range(N)))
    side = {"source": "s.parquet", "modality": "table", "label": "state", "group": "run"}
    return Shape({"student": side, "link": "paired"}, MLP, ["s.parquet"], first=IMPORT)


def recordings_of_sensors(_: str) -> Shape:
    """A file a recording, a column a sensor, of different lengths."""
    rng = np.random.default_rng(0)
    for i in range(N):
        steps = rng.normal(size=(20 + i % 5, 3)) + i % 2
        Path(f"runs/{'ab'[i % 2]}").mkdir(parents=True, exist_ok=True)
        write_csv(Path(f"runs/{'ab'[i % 2]}/{i}.csv"), ("x", "y", "z"), steps.tolist())
    embeddings([str(i) for i in range(N)])
    side = {"source": "runs", "modality": "series", "key": "stem", "length": 22}
    student = {"model": "series_encoder", "config": {"channels": [4, 8]}}
    return Shape({"student": side, "link": "paired"}, student, ["runs/a/0.csv", "runs/b/1.csv"], first=IMPORT)


def two_teachers(_: str) -> Shape:
    embeddings(list(range(N)))
    sides = {"here": {"link": "paired"}, "there": {"link": "partly_paired"}}
    data = {"student": numbers(lambda i: "ab"[i % 2]), "teachers": sides}
    return Shape(data, MLP, ["n.csv"], "supervised", first=IMPORT)


def own_module(_: str) -> Shape:
    Path("net_of_mine.py").write_text(
        "from torch import nn\n\n"
        "def make(n_classes):\n    return nn.Sequential(nn.Linear(2, 8), nn.Linear(8, n_classes))\n"
    )
    embeddings(list(range(N)))
    data = {"student": numbers(lambda i: "ab"[i % 2]), "link": "paired"}
    return Shape(data, {"model": "net_of_mine:make"}, ["n.csv"], first=IMPORT, flags=("--trust-code",))


def several_inputs(_: str) -> Shape:
    """A title, a price and a photo of each product; one photo is broken."""
    for i in range(N):
        picture(Path(f"p/{i}.png"), i)
    Path("p/7.png").write_bytes(b"no picture")
    rows = [
        (i, f"a {'red' if i % 2 else 'green'} cup", i % 9 + 0.5, i % 3, f"p/{i}.png", "xy"[i % 2])
        for i in range(N)
    ]
    header = ("id", "title", "price", "weight", "photo", "label")
    write_csv(Path("s.csv"), header, rows)
    write_csv(Path("new.csv"), header[:5], [row[:5] for row in rows[:5]])
    embeddings(list(range(N)))
    inputs = {
        "title": "text",
        "numbers": {"modality": "table", "input": ["price", "weight"]},
        "photo": {"modality": "image", "size": [8, 8], "channels": 3},
    }
    side = {"source": "s.csv", "inputs": inputs, "on_error": "skip"}
    return Shape(
        {"student": side}, {"model": "joined_encoder", "config": {"width": 8}}, ["new.csv"], first=IMPORT
    )


def videos(_: str) -> Shape:
    for i in range(N):
        write_video(Path(f"films/{'xy'[i % 2]}/{i}.mp4"), [200 * (i % 2) + i % 50] * 3)
    embeddings([str(i) for i in range(N)])
    side = {"source": "films", "modality": "video", "key": "stem", "frames": 2, "size": [8, 8]}
    student = {"model": "video_encoder", "config": {"channels": [4]}}
    return Shape({"student": side}, student, ["films/x/0.mp4"], first=IMPORT)


SHAPES = (
    missing_partners, no_labels_of_the_teacher, refused_rows, bags_of_recordings, data_set_on_disk, nested_folders,
    several_labels, regression, sensors, recordings_of_sensors, two_teachers,
    own_module, several_inputs, videos,
)  # fmt: skip


# Whose parts have everyday tests of their own.
ALSO_ELSEWHERE = (
    own_module,
    videos,
    sensors,
    recordings_of_sensors,
    two_teachers,
    several_labels,
    data_set_on_disk,
)


@pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=pytest.mark.full) if s in ALSO_ELSEWHERE else s for s in SHAPES]
)
def test_from_files_to_answers(shape, tmp_path, monkeypatch, capsys, word_bert):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: Shape = shape(f"hf:{word_bert}")
    if made.first:
        assert main(list(made.first)) == 0, capsys.readouterr().err
    recipe = {
        "data": {"name": "own", "config": made.data},
        "student": made.student,
        "teacher": made.teacher,
        "method": {"name": made.method},
        "training": {"max_steps": 2, "n_labelled": 4, "n_unlabelled": 4, "n_bags": 2},
        "output_dir": "run",
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["distill", "--config", "recipe.yaml", *made.flags]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["predict", "run/student", *made.files, "--json"]) == 0, capsys.readouterr().err
    answers = json.loads(capsys.readouterr().out)
    assert answers
    assert all(made.answer in answer for answer in answers)
