"""Own data: source x modality x link, read when asked, and every problem; the same rows from memory and from disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from raw_files import write_csv, write_tone

from limbeck.banks.bank import Bank
from limbeck.data import Task, make_task
from limbeck.data.own import media_inputs, stored
from limbeck.data.own.own_data import own_data
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import MethodSpec, StudentSpec, TeacherSpec
from limbeck.runner import run

N, CLASSES = 60, ("mug", "plant", "shirt")


def picture(path: Path, number: int) -> None:
    pixels = np.zeros((6, 6, 3), np.uint8)
    pixels[..., number % 3] = 100 + number
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products with a title, a price, a category (of every second) and a session; photos of three quarters."""
    folder = tmp_path_factory.mktemp("shop")
    rows = [
        (
            f"A{i:02d}",
            f"a {CLASSES[i % 3]} of size {i}",
            i % 3 + i / 100,
            CLASSES[i % 3] * (i % 2),
            f"s{i // 6}",
        )
        for i in range(N)
    ]
    write_csv(folder / "products.csv", ("sku", "title", "price", "category", "session"), rows)
    for i in range(N):
        if i % 4:
            picture(folder / "photos" / f"A{i:02d}.png", i)
            picture(folder / "shelves" / CLASSES[i % 3] / f"{i:02d}.png", i)
    write_csv(
        folder / "photos.csv",
        ("photo", "file", "session", "kind"),
        [(f"p{i}", f"photos/A{i:02d}.png", f"s{i // 6}", CLASSES[i % 3]) for i in range(N) if i % 4],
    )
    return folder


STUDENT = {"source": "products.csv", "modality": "text", "input": "title", "key": "sku", "label": "category"}
PHOTOS = {"source": "photos", "modality": "image", "key": "stem", "size": [6, 6], "channels": 3}


def made(shop: Path, student: dict | None = None, teacher: dict | None = None, **settings: object) -> Task:
    def placed(side: dict) -> dict:
        return side | {"source": str(shop / side["source"])} if isinstance(side.get("source"), str) else side

    sides = {"student": placed(STUDENT | (student or {}))}
    if teacher is not None:
        sides["teacher"] = placed(teacher)
    return make_task("own", sides | settings)


def test_texts_with_pictures_by_key_where_some_lack(shop):
    task = made(shop, teacher=PHOTOS, link={"kind": "partly_paired"})
    train = task.splits["train"]
    with_photo = {key for key in train.keys if int(key[1:]) % 4}
    assert set(task.teacher.link.teacher_of) == set(task.teacher.splits["link"].keys) == with_photo
    assert task.info["notes"] == [
        f"{len(train) - len(with_photo)} of {len(train)} training rows have no row of the teacher"
    ]
    assert task.class_names == CLASSES
    assert not task.teacher.splits["link"].targets.known.any()
    x = task.teacher.splits["link"].rows([0])["x"]
    assert x.shape == (1, 3, 6, 6)
    assert task.preprocessor == {"kind": "text", "columns": ["text"], "names": {"text": "title"}}
    with task.splits.final_evaluation() as splits:  # the unlabelled half trains
        assert [bool(splits[r].targets.known.all()) for r in ("train", "validation", "test")] == [
            False,
            True,
            True,
        ]


def test_bags_by_a_column(shop):
    photos = {"source": "photos.csv", "modality": "image", "key": "photo", "size": [6, 6]}
    task = made(shop, teacher=photos, link={"kind": "bagged", "by": "session"})
    link = task.teacher.link
    assert link.name == "bagged"
    bag = {key: int(key[1:]) // 6 for key in link.group_s}
    assert len({(link.group_s[key], session) for key, session in bag.items()}) == len(set(bag.values()))
    with task.splits.final_evaluation() as splits:  # whole sessions
        sessions = [{int(key[1:]) // 6 for key in splits[role].keys} for role in splits.roles]
    assert sum(map(len, sessions)) == len(set().union(*sessions)) == 10


@pytest.mark.parametrize("kind", ["by_class", "unpaired"])
def test_classes_from_sub_folders(shop, kind):
    task = made(shop, teacher=PHOTOS | {"source": "shelves", "key": None}, link=kind)
    theirs = task.teacher.splits["link"]
    assert theirs.class_names == CLASSES
    assert all(key.split("/")[0] == CLASSES[int(c)] for key, c in zip(theirs.keys, theirs.labels))
    assert set(task.teacher.splits.roles) == {"link", "train", "validation", "test"}


def test_several_teachers_each_with_its_link(shop):
    photos = PHOTOS | {"source": str(shop / "photos"), "link": {"kind": "partly_paired"}}
    shelves = PHOTOS | {"source": str(shop / "shelves"), "key": None, "link": "by_class"}
    task = made(shop, teachers={"photos": photos, "shelves": shelves, "said": {"link": "paired"}})
    links = {name: side.link.name for name, side in task.teachers.items()}
    assert links == {"photos": "partly_paired", "shelves": "by_class", "said": "paired"}


@pytest.mark.parametrize(
    ("problem", "label", "names"),
    [
        ("regression", "price", ("price",)),
        ({"kind": "classification", "label_smoothing": 0.1}, "category", CLASSES),
        ("multilabel", "category", CLASSES),
    ],
)
def test_every_problem(shop, problem, label, names):
    task = made(shop, {"label": label}, PHOTOS, problem=problem, labels_per_class=6)
    assert task.class_names == names
    assert task.info["n_labelled"] == (18 if isinstance(problem, dict) else 6)
    if isinstance(problem, dict):
        assert task.problem.label_smoothing == 0.1


def test_classes_of_a_teacher_say_nothing_of_a_value(shop):
    shelves = PHOTOS | {"source": "shelves", "key": None}
    task = made(shop, {"label": "price"}, shelves, problem="regression", link="unpaired")
    assert len(task.teacher.splits["link"]) == round(0.3 * 45)
    assert not task.teacher.splits["link"].targets.known.any()


def test_choices(shop, tmp_path):
    rows = [(f"r{i}", "which is red?", "a", f"b{i}", ("a", "b")[i % 2]) for i in range(30)]
    write_csv(tmp_path / "t.csv", ("id", "question", "a", "b", "right"), rows)
    side = {"source": str(tmp_path / "t.csv"), "modality": "text", "label": "right"}
    task = own_data(student=side | {"input": {"text": "question", "choices": ["a", "b"]}}, problem="choice")
    assert task.class_names == ("a", "b")
    first = task.splits["train"].rows([0])
    assert first["text"][0] == "which is red?"
    assert len(first["choices"][0]) == 2


def sounds(folder: Path) -> dict:
    for i in range(24):
        path = folder / "clips" / ("low", "high")[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tone(path, i % 2, seed=i)
    return {"source": str(folder / "clips"), "modality": "audio", "label": None, "input": None, "key": None}


def numbers(folder: Path) -> dict:
    write_csv(
        folder / "n.csv", ("id", "a", "b", "label"), [(i, i, i % 2, ("no", "yes")[i % 2]) for i in range(24)]
    )
    return {"source": str(folder / "n.csv"), "modality": "table", "label": None, "input": None, "key": None}


def pictures(folder: Path) -> dict:
    for i in range(24):
        picture(folder / "pics" / ("x", "y")[i % 2] / f"{i}.png", i)
    return {"source": str(folder / "pics"), "modality": "image", "label": None, "input": None, "key": None}


def texts_(folder: Path) -> dict:
    lines = [json.dumps({"id": i, "text": f"word {i}", "label": "ab"[i % 2]}) + "\n" for i in range(24)]
    (folder / "t.jsonl").write_text("".join(lines))
    return {"source": str(folder / "t.jsonl"), "modality": "text", "label": None, "input": None, "key": None}


def series(folder: Path) -> dict:
    for i in range(24):
        rows = [(step, step * (i % 2), i) for step in range(9 + i % 3)]
        path = folder / "runs" / ("flat", "steep")[i % 2] / f"{i}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(path, ("t", "x", "y"), rows)
    side = {"source": str(folder / "runs"), "modality": "series", "length": 10}
    return side | {"label": None, "input": None, "key": None}


@pytest.mark.parametrize("modality", [pictures, sounds, texts_, numbers, series])
def test_rows_read_when_asked_are_those_read_at_once(modality, tmp_path):
    side = modality(tmp_path)
    at_once, asked = (own_data(student=side | {"in_memory": here}, link="unpaired") for here in (True, False))
    assert isinstance(at_once.splits["train"].inputs, dict)
    assert not isinstance(asked.splits["train"].inputs, dict)
    for role in ("train", "validation"):
        one, other = at_once.splits[role], asked.splits[role]
        assert one.keys == other.keys
        assert torch.equal(one.labels, other.labels)
        index = [3, 1] if role == "train" else [0]
        for name, value in one.rows(index).items():
            again = other.rows(index)[name]
            same = (
                torch.allclose(value, again)
                if isinstance(value, torch.Tensor)
                else list(value) == list(again)
            )
            assert same


@pytest.mark.parametrize("form", ["dataset", "folder", "splits", "frame", "parquet"])
def test_data_sets_and_frames(form, tmp_path):
    import pandas
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_from_disk
    from datasets import Image as Picture

    for i in range(24):
        picture(tmp_path / f"{i}.png", i)
    rows = {"id": list(range(24)), "image": [str(tmp_path / f"{i}.png") for i in range(24)]}
    kinds = Features({"id": Value("int64"), "image": Picture(), "label": ClassLabel(names=["dog", "cat"])})
    data = Dataset.from_dict(rows | {"label": [i % 2 for i in range(24)]}, features=kinds)
    frame = pandas.DataFrame(rows | {"label": [("dog", "cat")[i % 2] for i in range(24)]})
    source: object = data
    if form == "frame":
        source = frame
    elif form == "parquet":
        frame.to_parquet(tmp_path / "t.parquet")
        source = str(tmp_path / "t.parquet")
    elif form == "folder":
        data.save_to_disk(tmp_path / "saved")
        source = str(tmp_path / "saved")
    elif form == "splits":
        DatasetDict(train=data.select(range(14)), test=data.select(range(14, 24))).save_to_disk(
            tmp_path / "saved"
        )
        source = str(tmp_path / "saved")
        assert set(load_from_disk(source)) == {"train", "test"}
    side = {"source": source, "modality": "image", "size": [6, 6], "channels": 3}
    task = own_data(student=side, link="unpaired")
    assert set(task.class_names) == {"dog", "cat"}
    with task.splits.final_evaluation() as splits:
        if form == "splits":
            assert set(splits["test"].keys) == set(range(14, 24))
        for role in splits.roles:
            rows_, x = splits[role], splits[role].all_rows()["x"]
            for key, c, row in zip(rows_.keys, rows_.labels, x):
                assert splits[role].class_names[int(c)] == ("dog", "cat")[key % 2]
                assert row[key % 3].max() > -0.9


def test_what_does_not_fit_in_memory_goes_to_disk(tmp_path, monkeypatch):
    store = stored.TextStore(50)
    for i in range(6):
        store.add({"text": [f"word {i}" * 4, "b"]})
    table = store.inputs()
    assert not isinstance(table, dict)
    assert list(table.rows(torch.tensor([2, 1]))["text"]) == ["word 1" * 4, "b"]
    monkeypatch.setattr(media_inputs, "IN_MEMORY", 50)
    task = own_data(student=pictures(tmp_path), link="unpaired")
    assert isinstance(task.splits["train"].inputs.table, stored.MediaTable)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_with_a_bank_that_lacks_rows(workers, tmp_path):
    side = numbers(tmp_path) | {"in_memory": False}
    task = own_data(student=side)
    keys = [key for key in task.splits["train"].keys if key % 3]
    bank = Bank.from_arrays(
        tmp_path / "bank", keys=[str(key) for key in keys], features=torch.randn(len(keys), 3)
    )
    recipe = Recipe(
        student=StudentSpec("table_encoder", {"n_columns": 2, "hidden": [4]}),
        method=MethodSpec("fitnets"),
        teacher=TeacherSpec(bank=str(bank.path)),
        training={"max_steps": 2, "n_labelled": 4, "n_unlabelled": 2, "dataloader_num_workers": workers},
        output_dir=str(tmp_path / f"run{workers}"),
    )
    result = run(recipe, task=task, show_progress=False)
    assert 0 <= result.scores["test"] <= 1
    gone = len(task.splits["train"]) - len(keys)
    assert any(f"{gone} of the {len(task.splits['train'])} rows" in said for said in result.warnings)
