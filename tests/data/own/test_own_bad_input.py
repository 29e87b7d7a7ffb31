"""What a stranger gets wrong with own data: one sentence each, with the mend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_files import write_csv

from limbeck.data.own.own_data import own_data
from limbeck.errors import ConfigError, DataError, LinkError, UnknownNameError


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [(f"k{i}", f"text {i}", "ab"[i % 2], f"s{i // 4}", i, f"pics/k{i}.png") for i in range(40)]
    header = ("id", "title", "label", "session", "price", "photo")
    write_csv(folder / "t.csv", header, rows)
    write_csv(folder / "other.csv", header, [(f"x{i}", *row[1:]) for i, row in enumerate(rows)])
    write_csv(folder / "few.csv", header, rows[:30])
    write_csv(folder / "twice.csv", header, [*rows, rows[0]])
    write_csv(folder / "no_text.csv", header, [("q", "", "a", "", 1, ""), *rows])
    write_csv(folder / "no_key.csv", header, [("", "a", "a", "", 1, ""), *rows])
    write_csv(folder / "no_number.csv", header, [("q", "a", "a", "", "many", ""), *rows])
    write_csv(folder / "link.csv", header, [("q", "a", "a", "", 1, "https://a.b/c.png"), *rows])
    (folder / "pics").mkdir()
    for i in range(30):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(folder / "pics" / f"k{i}.png")
    (folder / "empty").mkdir()
    for name in ("u", "v"):
        (folder / "nested" / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 9, np.uint8)).save(folder / "nested" / name / "1.png")
    return folder


TEXT = {"source": "t.csv", "modality": "text", "input": "title", "label": "label"}
PICS = {"source": "pics", "modality": "image", "key": "stem"}


@pytest.mark.parametrize(
    ("student", "settings", "error", "words"),
    [
        ({"source": "u.csv"}, {}, DataError, "does not exist"),
        ({"source": None}, {}, ConfigError, "student needs a source"),
        ({"modality": None}, {}, ConfigError, "student needs a modality: image"),
        ({"modality": "txt"}, {}, UnknownNameError, "no modality 'txt'; did you mean 'text'"),
        ({"modlity": "text"}, {}, UnknownNameError, "no setting 'modlity'; did you mean 'modality'"),
        ({"key": "sku"}, {}, UnknownNameError, "no column 'sku' for student.key"),
        ({"input": "titel"}, {}, UnknownNameError, "'titel' for student.input; did you mean 'title'"),
        ({"input": None}, {}, UnknownNameError, "no column 'text'; say where the text is: student.input"),
        ({"label": "labels"}, {}, UnknownNameError, "'labels' for student.label; did you mean 'label'"),
        ({"label": False}, {}, DataError, "holds no labels"),
        ({"class_names": ["a", "c"]}, {}, DataError, "has the label 'b', no class name"),
        ({"class_names": ["a", "a", "b"]}, {}, ConfigError, "must be different names"),
        ({"on_error": "ignore"}, {}, ConfigError, "valid ones: error, skip"),
        ({"source": "twice.csv"}, {}, DataError, "more than once: 'k0'; make them unique"),
        (
            {"source": "no_text.csv"},
            {},
            DataError,
            "1 of 41 rows .* line 2 has an empty text; .*on_error: skip",
        ),
        ({"source": "no_key.csv"}, {}, DataError, "line 2 has no key in column 'id'"),
        (
            {"source": "no_number.csv", "modality": "table", "input": ["price"]},
            {},
            DataError,
            "line 2 has 'many' in column 'price', where a number is needed",
        ),
        (
            {"source": "link.csv", "modality": "image", "input": "photo"},
            {},
            DataError,
            "is a link, and links are not fetched",
        ),
        ({"modality": "image", "input": "photo"}, {}, DataError, "k30.png does not exist"),
        (
            {"modality": "image", "input": None},
            {},
            UnknownNameError,
            "no column 'file'; say where the files are",
        ),
        (
            {"source": "pics", "input": None},
            {},
            DataError,
            "is a folder of files, and texts are read from a table",
        ),
        ({"source": "empty", "modality": "image"}, {}, DataError, "holds no files"),
        ({"modality": "image", "size": 28}, {}, ConfigError, "write \\[224, 224\\]"),
        ({"modality": "image", "channels": 2}, {}, ConfigError, "1 is grey, 3 is colour"),
        ({}, {"problem": "choice"}, ConfigError, "needs choices"),
        ({"label": "title"}, {"problem": "regression"}, DataError, "where a finite number is predicted"),
        ({}, {"problem": "clasification"}, UnknownNameError, "did you mean 'classification'"),
        ({}, {"link": "pairs"}, UnknownNameError, "no link 'pairs'; did you mean 'paired'"),
        ({}, {"link": {"by": "id"}}, ConfigError, "link is the name of a link, or"),
        ({}, {"link": {"kind": "paired", "on": "id"}}, UnknownNameError, "link has no setting 'on'"),
        (
            {},
            {"link": {"kind": "bagged", "by": "session"}},
            LinkError,
            "Bags need to know which teacher rows",
        ),
        ({}, {"link": {"kind": "unpaired", "by": "session"}}, ConfigError, "goes by nothing"),
        ({}, {"link": {"kind": "paired", "by": "ids"}}, UnknownNameError, "'ids' for student.key"),
        ({}, {"teacher": PICS, "link": "paired"}, LinkError, "have no teacher row of their key"),
        (
            {},
            {"teacher": PICS | {"key": "path", "source": "nested"}},
            LinkError,
            "No student key is a teacher key",
        ),
        ({}, {"teacher": PICS | {"source": "nested"}}, DataError, "more than once: 1; take key: path"),
        ({}, {"teacher": PICS, "link": "bagged"}, LinkError, "The student's rows have no groups"),
        (
            {"group": "session"},
            {"teacher": PICS, "link": "bagged"},
            LinkError,
            "The teacher's rows have no groups",
        ),
        ({}, {"teacher": PICS, "link": "by_class"}, LinkError, "The teacher's rows have no labels"),
        ({}, {"teacher": {"source": "other.csv"}, "link": "paired"}, LinkError, "the student has 'k"),
        ({}, {"teacher": PICS, "teachers": {"a": PICS}}, ConfigError, "both teacher and teachers"),
        ({}, {"teachers": {"a": "photos"}}, ConfigError, "teachers.a is a mapping such as"),
        ({}, {"validation_share": 0.9}, ConfigError, "leave training rows"),
        ({}, {"labels_per_class": 90}, DataError, "lower labels_per_class"),
    ],
)
def test_one_sentence_with_the_mend(student, settings, error, words, here, monkeypatch):
    monkeypatch.chdir(here)
    with pytest.raises(error, match=words) as told:
        own_data(**{"student": TEXT | student} | settings)
    assert "\n" not in str(told.value)
    assert str(told.value).endswith((".", "?"))


@pytest.mark.parametrize("student", ["t.csv", ["t.csv"], None])
def test_a_side_is_a_mapping(student):
    with pytest.raises(ConfigError, match="student is a mapping such as"):
        own_data(student=student)


@pytest.mark.parametrize("source", ["no_text.csv", "no_key.csv"])
def test_bad_rows_are_left_out_only_if_asked(source, here, monkeypatch):
    monkeypatch.chdir(here)
    task = own_data(student=TEXT | {"source": source, "on_error": "skip"})
    assert list(task.info["student"]["skipped"]) == ["line 2"]
    assert task.info["student"]["read"] == 40


@pytest.mark.parametrize("in_memory", [True, False])
def test_missing_pictures_are_left_out_only_if_asked(in_memory, here, monkeypatch):
    monkeypatch.chdir(here)
    side = TEXT | {"modality": "image", "input": "photo", "on_error": "skip", "in_memory": in_memory}
    task = own_data(student=side)
    assert len(task.info["student"]["skipped"]) == 10
    train = task.splits["train"]
    number = [int(key[1:]) for key in train.keys]
    x = train.rows(range(len(train)))["x"][:, 0, 0, 0]
    assert np.allclose(x, np.array(number) / 255 * 2 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (
            "1,5",
            "3 of 3 rows .* line 2 has '1,5' in column 'x', where a number is needed .write decimals with",
        ),
        ("true", "3 of 3 rows .* line 2 has 'true' in column 'x', where a number is needed"),
        (None, "holds no rows; check the file"),
    ],
)
def test_a_table_without_one_row_that_can_be_used(cell, words, tmp_path):
    rows = [] if cell is None else [(f"k{i}", "ab"[i % 2], cell) for i in range(3)]
    write_csv(tmp_path / "t.csv", ("key", "label", "x"), rows)
    with pytest.raises(DataError, match=words):
        own_data(student={"source": str(tmp_path / "t.csv"), "modality": "table"})


def test_json_without_rows_and_numbers_beyond_all_floats(tmp_path):
    path = tmp_path / "t.json"
    path.write_text("[]")
    with pytest.raises(DataError, match=r"t\.json holds no rows; check the file"):
        own_data(student={"source": str(path), "modality": "table"})
    path.write_text(f'[{{"key": 1, "x": {10**400}}}, {{"key": 2, "x": 1}}]')
    with pytest.raises(
        DataError, match=r"1 of 2 rows .* row 0 has 1000.* in column 'x', where a number is needed"
    ):
        own_data(student={"source": str(path), "modality": "table", "label": False})


def test_a_hub_that_is_out_of_reach_is_one_sentence(monkeypatch):
    import datasets

    def offline(name):
        raise ConnectionError("Couldn't reach 'somebody/rows' on the Hub\nTraceback of the network")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        DataError, match=r"'somebody/rows' cannot be loaded from the hub .*save_to_disk wrote\.$"
    ) as said:
        own_data(student={"source": "hf:somebody/rows", "modality": "text"})
    assert "\n" not in str(said.value)
