"""The data set emoji: halves that do not meet, labels that do not leak, and files that are named when wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from limbeck.data import make_task
from limbeck.data.benchmarks.emoji import emoji
from limbeck.errors import ConfigError, DataError, LimbeckError, UnknownNameError
from limbeck.signals import UNLABELLED

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}
COLUMNS = ["file", "codepoints", "name", "keywords", "group", "subgroup", "dominant_color", "split"]


def write(folder: Path, rows: list[dict[str, str]], columns: list[str] = COLUMNS) -> None:
    with (folder / "emoji.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """66 plain pictures: 22 of each of three colours, 14 for training, 3 for validation, 5 for the test."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(66):
        color, code = list(COLORS)[number % 3], f"1F{number:03X}"
        image.new("RGB", (72, 72), COLORS[color]).save(tmp_path / "images" / f"{code}.png")
        name = f"thing, number {number}"
        split = "train" if number < 42 else "val" if number < 51 else "test"
        rows.append(
            {
                "file": f"images/{code}.png",
                "codepoints": code,
                "name": name,
                "keywords": f"{color}|{name}" if number % 2 else name,
                "group": "only",
                "subgroup": f"part-{number % 2}",
                "dominant_color": color,
                "split": split,
            }
        )
    write(tmp_path, rows)
    return tmp_path


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "emoji.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(keys) -> set[str]:
    return {key.split("/")[1] for key in keys}


def test_roles_columns_and_standardised_pictures(folder):
    task = emoji(folder, labels_per_class=2)
    assert task.splits.sizes == {"train": 21, "validation": 9, "test": 15}
    assert task.teacher.splits.sizes == {"train": 21, "link": 21, "validation": 9, "test": 15}
    assert task.class_names == task.teacher.splits["train"].class_names == ("blue", "green", "red")
    assert task.splits["train"].text_columns == ("text",)
    x = task.teacher.splits["train"].inputs["x"]
    assert (x.shape, x.dtype) == ((21, 3, 36, 36), torch.float32)
    assert abs(x.mean().item()) < 1e-5
    assert x.std().item() == pytest.approx(1, abs=1e-4)
    assert task.preprocessor == {"kind": "text", "columns": ["text"]}
    assert (task.info["n_labelled"], task.info["n_unlabelled"]) == (6, 15)


def test_the_teacher_never_saw_the_students_things(folder):
    task = emoji(folder)
    own, linked = names(task.teacher.splits["train"].keys), names(task.teacher.splits["link"].keys)
    assert linked == names(task.splits["train"].keys)
    assert not own & linked
    held_out = names(task.splits["validation"].keys)
    assert not held_out & (own | linked)
    per_class = torch.bincount(task.teacher.splits["train"].labels)
    assert per_class.tolist() == [7, 7, 7]


def test_halves_do_not_depend_on_the_seed_but_labels_do(folder):
    first, second = (emoji(folder, labels_per_class=2, seed=seed) for seed in (0, 1))
    assert first.splits["train"].keys == second.splits["train"].keys
    assert first.teacher.splits["train"].keys == second.teacher.splits["train"].keys
    assert not torch.equal(first.splits["train"].labels, second.splits["train"].labels)
    again = emoji(folder, labels_per_class=2, seed=1)
    assert torch.equal(again.splits["train"].labels, second.splits["train"].labels)


def test_labels_are_hidden_and_linked_pictures_carry_none(folder):
    task = emoji(folder, labels_per_class=2)
    labels = task.splits["train"].labels
    known = labels != UNLABELLED
    assert torch.bincount(labels[known]).tolist() == [2, 2, 2]
    assert torch.equal(labels[known], task.truth[known])
    assert torch.all(task.teacher.splits["link"].labels == UNLABELLED)
    color = {row["codepoints"]: row["dominant_color"] for row in rows_of(folder)}
    told = [task.class_names[label] for label in task.truth.tolist()]
    assert told == [color[key.split("/")[1]] for key in task.splits["train"].keys]


def test_pairs(folder):
    everything = emoji(folder, labels_per_class=2)
    assert len(everything.teacher.link.teacher_of) == 21
    assert all(s.split("/")[1] == t.split("/")[1] for s, t in everything.teacher.link.teacher_of.items())
    few = emoji(folder, labels_per_class=2, pairs="labelled")
    assert few.splits.sizes["train"] == few.teacher.splits.sizes["link"] == len(few.truth) == 6
    assert torch.all(few.splits["train"].labels >= 0)
    known = everything.splits["train"].labels >= 0
    assert few.splits["train"].keys == everything.splits["train"].subset(known.nonzero().flatten()).keys
    apart = emoji(folder, labels_per_class=2, pairs="none")
    assert apart.teacher.link.name == "unpaired"
    assert torch.all(apart.teacher.splits["link"].labels >= 0)


def test_a_picture_is_that_of_its_text(folder):
    task = emoji(folder)
    link = task.teacher.splits["link"]
    strongest = link.inputs["x"].mean((2, 3)).argmax(1)  # red, green or blue light
    assert [("red", "green", "blue")[c] for c in strongest] == [task.class_names[c] for c in task.truth]


def test_texts(folder):
    read = {
        kind: emoji(folder, text=kind).splits["validation"].inputs["text"] for kind in ("name", "keywords")
    }
    both = emoji(folder).splits["validation"].inputs["text"]
    assert (read["name"][0], read["keywords"][0], both[0]) == (("thing, number 42",) * 3)
    assert read["name"][1] == "thing, number 43"
    assert read["keywords"][1] == "green, thing, number 43"
    assert both[1] == "thing, number 43: green"


def test_all_labels_and_classes_with_few(folder):
    assert emoji(folder, labels_per_class=None).info["n_unlabelled"] == 0
    assert emoji(folder, labels_per_class=1000).info["n_labelled"] == 21
    assert emoji(folder, "subgroup", image_size=8).class_names == ("part-0", "part-1")


def test_repeated_texts_are_counted(folder):
    rows = rows_of(folder)
    rows[-1]["name"] = rows[-1]["keywords"] = rows[0]["name"]  # a blue test row reads like a red training row
    rows[-1]["dominant_color"] = "blue"
    write(folder, rows)
    info = emoji(folder).info
    assert (info["n_test_texts_in_train"], info["n_texts_of_several_classes"]) == (1, 1)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"task": "dominant_colour"}, UnknownNameError, "did you mean 'dominant_color'"),
        ({"task": "group"}, DataError, "has the one class 'only'"),
        ({"text": "names"}, UnknownNameError, "did you mean 'name'"),
        ({"pairs": "labeled"}, UnknownNameError, "did you mean 'labelled'"),
        ({"labels_per_class": 0}, ConfigError, "labels_per_class=0 must be at least 1"),
        ({"image_size": 4}, ConfigError, "image_size=4"),
        ({"folder": None}, ConfigError, "set folder to the one that holds emoji.csv"),
        ({"folder": "/nowhere"}, DataError, "emoji.csv does not exist"),
    ],
)
def test_wrong_settings_are_one_sentence(folder, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        emoji(**{"folder": folder} | settings)
    assert "\n" not in str(caught.value)


def change(rows, column, value):
    rows[3][column] = value


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: change(rows, "file", "images/none.png"), r"lacks 1 pictures.*images/none\.png"),
        (lambda rows: change(rows, "split", "dev"), "line 5: split 'dev' is none of"),
        (lambda rows: change(rows, "name", ""), "line 5: nothing in the columns 'name'"),
        (lambda rows: change(rows, "codepoints", "1F000"), "more than once: '1F000'"),
        (lambda rows: rows.clear(), "holds no rows"),
        (lambda rows: rows.__delitem__(slice(50, None)), "no rows for test"),
    ],
)
def test_spoilt_tables_are_named(folder, spoil, words):
    rows = rows_of(folder)
    spoil(rows)
    write(folder, rows)
    with pytest.raises(DataError, match=words):
        emoji(folder)


def test_missing_columns_and_broken_files_are_named(folder):
    rows = rows_of(folder)
    write(folder, rows, [name for name in COLUMNS if name not in ("group", "split")])
    with pytest.raises(DataError, match="lacks the columns 'group', 'split'"):
        emoji(folder)
    (folder / "emoji.csv").write_bytes(b"file,\xff\xfe\n")
    with pytest.raises(LimbeckError, match="cannot be read as a CSV in UTF-8"):
        emoji(folder)
    write(folder, rows)
    (folder / rows[0]["file"]).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1F000\.png cannot be read as a picture"):
        emoji(folder, image_size=16)


def test_a_picture_made_anew_is_read_anew(folder):
    before = emoji(folder).info["n_teacher"]
    rows = rows_of(folder)[:-3]
    write(folder, rows)
    assert emoji(folder).teacher.splits.sizes["test"] == 12
    assert emoji(folder).info["n_teacher"] == before


@pytest.mark.real_data
def test_real_emoji(real_data):
    """Counts of the published table, and that the picture tells the colour."""
    task = make_task("emoji", {"folder": str(real_data / "emoji")}, seed=0)
    assert task.splits.sizes == {"train": 652, "validation": 186, "test": 372}
    assert task.teacher.splits.sizes == {"train": 651, "link": 652, "validation": 186, "test": 372}
    assert (task.info["n_labelled"], task.info["n_unlabelled"]) == (110, 542)
    assert task.info["n_test_texts_in_train"] == 0
    seen, asked = (task.teacher.splits[role].inputs["x"].flatten(1) for role in ("train", "link"))
    nearest = task.teacher.splits["train"].labels[torch.cdist(asked, seen).argmin(1)]
    assert (nearest == task.truth).float().mean().item() > 0.5
    assert make_task("emoji", {"folder": str(real_data / "emoji"), "task": "group"}).info["n_labelled"] == 90
