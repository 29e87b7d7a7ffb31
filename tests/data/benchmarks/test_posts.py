"""Hateful Memes and MM-IMDb in their own layouts, made here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from limbeck.data.registry import make_task
from limbeck.errors import DataError
from limbeck.methods.registry import plan_method


def memes(root: Path, files: dict[str, int], labels: bool = True) -> Path:
    (root / "img").mkdir(parents=True, exist_ok=True)
    for name, n in files.items():
        lines = []
        for i in range(n):
            number = f"{len(name)}{i:04d}"
            Image.new("RGB", (9, 7), (i, 20 * (i % 2), 0)).save(root / "img" / f"{number}.png")
            row = {"id": int(number), "img": f"img/{number}.png", "text": f"words {i}"}
            lines.append(json.dumps(row | ({"label": i % 2} if labels or name != "test_seen" else {})))
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def test_memes(tmp_path: Path) -> None:
    memes(tmp_path, {"train": 40, "dev_seen": 6, "test_seen": 8})
    task = make_task(
        "hateful_memes",
        {"folder": str(tmp_path), "labels_per_class": 3, "size": [8, 8], "validation_share": 0.2},
    )
    assert task.class_names == ("not_hateful", "hateful")
    assert task.splits.sizes["test"] == 8
    train, link = task.splits["train"], task.teacher.splits["link"]
    assert len(train) + task.splits.sizes["validation"] == 40
    assert int(train.targets.known.sum()) == 6
    assert train.keys[0].startswith("train/")
    picture = link.rows([0])
    assert tuple(next(iter(picture.values())).shape) == (1, 3, 8, 8)
    assert not bool(link.targets.known.any())
    assert set(task.teacher.link.teacher_keys) >= set(train.keys)


def test_a_test_without_labels_gives_way_to_dev(tmp_path: Path) -> None:
    memes(tmp_path, {"train": 40, "dev_seen": 6, "dev_unseen": 10, "test_seen": 8}, labels=False)
    task = make_task("hateful_memes", {"folder": str(tmp_path)})
    assert (task.splits.sizes["test"], task.splits.sizes["validation"], len(task.splits["train"])) == (
        6,
        10,
        40,
    )


def test_a_line_of_memes_ends_where_json_lines_end(tmp_path: Path) -> None:
    """Not at a separator inside a text, and an empty one is none."""
    path = memes(tmp_path, {"train": 40, "dev_seen": 6}) / "train.jsonl"
    path.write_text(path.read_text().replace("words 3", "words\u20283") + "\n")
    train = make_task("hateful_memes", {"folder": str(tmp_path), "validation_share": 0.2}).splits["train"]
    assert len(train) == 32


def test_memes_that_are_no_text(tmp_path: Path) -> None:
    path = memes(tmp_path, {"train": 4, "dev_seen": 2}) / "train.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train.jsonl is no text in UTF-8"):
        make_task("hateful_memes", {"folder": str(tmp_path)})


def test_memes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no train.jsonl with labels"):
        make_task("hateful_memes", {"folder": str(tmp_path)})
    memes(tmp_path, {"train": 4, "dev": 4})
    (tmp_path / "img" / "50002.png").unlink()
    with pytest.raises(DataError, match=r"train.jsonl, line 3: there is no picture .*50002.png"):
        make_task("hateful_memes", {"folder": str(tmp_path)})


def films(root: Path, n: int = 30) -> Path:
    (root / "dataset").mkdir(parents=True)
    genres = (["Drama"], ["Drama", "Comedy"], ["Comedy"])
    for i in range(n):
        plot = [f"Plot {i}.", "Another."] if i % 2 else f"Plot {i}."
        own = [*genres[i % 3], *(["Silent"] if i == n - 1 else [])]
        (root / "dataset" / f"{i:07d}.json").write_text(json.dumps({"plot": plot, "genres": own}))
        Image.new("RGB", (6, 9), (i, 0, 0)).save(root / "dataset" / f"{i:07d}.jpeg")
    numbers = [f"{i:07d}" for i in range(n)]
    split = {"train": numbers[:18], "dev": numbers[18:24], "test": numbers[24:]}
    (root / "split.json").write_text(json.dumps(split))
    return root


def test_films_have_several_genres(tmp_path: Path) -> None:
    task = make_task("mm_imdb", {"folder": str(films(tmp_path)), "size": [8, 8], "labels_per_class": 6})
    assert task.class_names == ("Comedy", "Drama")  # what only a test film is, nobody can learn
    train = task.splits["train"]
    assert train.problem.kind == "multilabel"
    assert (len(train), task.splits.sizes["validation"], task.splits.sizes["test"]) == (18, 6, 6)
    assert int(train.targets.known.sum()) == 6
    with task.splits.final_evaluation() as final:
        test = final["test"]
        assert test.rows([0])["text"][0] == "Plot 24."
        assert torch.equal(test.targets.values[-1], torch.tensor([1.0, 0.0]))
    plan = plan_method("armada")
    assert not plan.declared.problems  # any, so this one too


def test_films_that_are_not_there(tmp_path: Path) -> None:
    films(tmp_path)
    (tmp_path / "dataset" / "0000003.json").write_text("{}")
    with pytest.raises(DataError, match=r"0000003.json lacks plot or genres"):
        make_task("mm_imdb", {"folder": str(tmp_path)})
    (tmp_path / "split.json").write_text("[]")
    with pytest.raises(DataError, match=r"split.json must map train, dev, test"):
        make_task("mm_imdb", {"folder": str(tmp_path)})
