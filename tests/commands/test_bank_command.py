"""limbeck bank: build from a CSV, build again, look, check, delete."""

from __future__ import annotations

import json

import pytest
from raw_files import write_csv

from limbeck import cli
from limbeck.banks import Bank

TEACHER = "def ask(inputs):\n    return {'features': [[float(len(text)), 1.0] for text in inputs['text']]}\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a module of a teacher and a CSV of texts, in which the user stands."""
    (tmp_path / "my_teacher.py").write_text(TEACHER)
    rows = [(f"t{i}", "x" * (i + 1), ("cat", "dog")[i % 2]) for i in range(10)]
    write_csv(tmp_path / "texts.csv", ("id", "text", "label"), rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    return tmp_path


def bank(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["bank", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


BUILD = (
    "build",
    "--teacher",
    "callable:my_teacher:ask",
    "--data",
    "texts.csv",
    "--column",
    "text",
    "--output",
    "bank",
)


def test_a_bank_from_a_csv(place, capsys):
    code, out, _ = bank(capsys, *BUILD, "--dry-run")
    assert (code, out) == (
        0,
        "10 rows of texts.csv in 1 batches to callable:my_teacher:ask; nothing was asked.\n",
    )
    assert not (place / "bank").exists()
    code, out, err = bank(capsys, *BUILD)
    assert (code, out) == (0, "bank: 10 rows, features, labels\n"), err
    assert bank(capsys, *BUILD)[0] == 0
    made = Bank.open(place / "bank")
    assert made.class_names == ("cat", "dog")
    assert made.lookup(["t7"]).features.tolist() == [[8.0, 1.0]]
    info = json.loads(bank(capsys, "info", "bank", "--json")[1])
    assert (info["rows"], info["state"]) == (10, "complete")
    assert "rows          10" in bank(capsys, "info", "bank")[1]
    assert bank(capsys, "verify", "bank")[1].endswith("bytes as they were written\n")


def test_only_a_bank_is_deleted_and_only_when_told(place, capsys, monkeypatch):
    bank(capsys, *BUILD)
    for answer in ("n", EOFError()):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: _answer(answer))
        assert bank(capsys, "delete", "bank")[:2][0] == 1
        assert (place / "bank").exists()
    assert bank(capsys, "delete", "bank", "--yes")[0] == 0
    assert not (place / "bank").exists()
    (place / "other").mkdir()
    code, _, err = bank(capsys, "delete", "other", "--yes")
    assert (code, (place / "other").exists()) == (1, True)
    assert "no bank" in err


def _answer(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"--teacher": "callable:my_teacher:aks"},
            2,
            "my_teacher has no function 'aks'; did you mean 'ask'?",
        ),
        ({"--teacher": "callable:my_techer:ask"}, 2, "There is no module 'my_techer'"),
        ({"--teacher": "hff:x"}, 2, "KIND:NAME"),
        ({"--teacher": "hf:nowhere/at/all"}, 1, "No transformers model can be loaded from 'nowhere/at/all'"),
        ({"--data": "no.csv"}, 1, "no.csv does not exist"),
        ({"--data": "my_teacher.py"}, 1, "is none of .csv, .tsv, .jsonl, .json, .parquet"),
        ({"--column": "txt"}, 2, "no column 'txt'; did you mean 'text'?"),
        ({"--output": "texts.csv"}, 1, "texts.csv is a file"),
        ({"--batch-size": "0"}, 2, "must be at least 1"),
        ({"--key": "label"}, 1, "line 4 of texts.csv has the key 'cat' of line 2 again"),
    ],
)
def test_wrong_use_and_wrong_data_are_a_sentence(place, capsys, changes, code, words):
    options = dict(zip(BUILD[1::2], BUILD[2::2])) | changes
    found, out, err = bank(capsys, "build", *(x for pair in options.items() for x in pair))
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert words in err


@pytest.mark.parametrize("key", ["path", "stem"])
def test_a_bank_of_a_folder_of_files(place, capsys, key):
    (place / "my_files.py").write_text(
        "def ask(inputs):\n    return {'features': [[float(len(open(p).read()))] for p in inputs['file']]}\n"
    )
    for i, name in enumerate(("one", "two", "three")):
        (place / "files" / "kind").mkdir(parents=True, exist_ok=True)
        (place / "files" / "kind" / f"{name}.txt").write_text("x" * i)
    arguments = ("--teacher", "callable:my_files:ask", "--data", "files", "--key", key, "--output", "bank")
    code, out, err = bank(capsys, "build", *arguments)
    assert (code, out) == (0, "bank: 3 rows, features, labels\n"), err
    names = {"kind/two", "kind/one", "kind/three"} if key == "path" else {"two", "one", "three"}
    made = Bank.open(place / "bank")
    assert set(made.keys) == names
    assert made.class_names == ("kind",)
    two = next(name for name in names if name.endswith("two"))
    assert made.lookup([two]).features.tolist() == [[1.0]]


def test_rows_that_cannot_be_used_are_skipped_and_named(place, capsys):
    rows = [("a", "x"), ("", "xx"), ("c", "xxx"), ("a", "xxxx"), ("e", "gone.png"), ("f", "xxxxx")]
    write_csv(place / "texts.csv", ("id", "text"), rows)
    assert bank(capsys, *BUILD)[0] == 1
    for _ in range(2):  # the second goes on with the same rows
        code, out, err = bank(capsys, *BUILD, "--on-error", "skip")
        assert (code, out) == (0, "bank: 3 rows, features\n"), err
    assert (
        "3 rows are left out of texts.csv: line 3 (has no key in column 'id'), line 5 (has the key 'a'" in err
    )
    assert "line 6 (There is no file 'gone.png')" in err
    assert Bank.open(place / "bank").keys == ("a", "c", "f")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_rows_of_every_kind_of_table_are_skipped(place, capsys, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rows = [{"id": i, "text": "x" * i} for i in (1, 2, 2, 4)]
    (place / "any_teacher.py").write_text(
        "def ask(inputs):\n    return {'features': [[1.0] for _ in next(iter(inputs.values()))]}\n"
    )
    source, bad = f"t.{kind}", "row 2"
    if kind == "jsonl":
        lines = [*(json.dumps(row) for row in rows[:2]), "{broken", json.dumps(rows[3])]
        (place / source).write_text("\n".join(lines))
        bad = "line 3"
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), place / source)
    else:
        source, bad = "photos", "b.png"
        (place / source).mkdir()
        for name in "abc":
            Image.new("RGB", (4, 4)).save(place / source / f"{name}.png")
        (place / source / "b.png").write_bytes((place / source / "a.png").read_bytes()[:40])
    asked = ("build", "--teacher", "callable:any_teacher:ask", "--data", source, "--output", "bank")
    code, _, err = bank(capsys, *asked, "--on-error", "skip")
    assert code == 0, err
    assert f"1 row is left out of {source}: {bad} (" in err
    assert len(Bank.open(place / "bank")) == (2 if kind == "folder" else 3)
