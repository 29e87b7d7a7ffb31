"""Several inputs of a row: read together, standardised each, and a row that lacks one is bad in all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from raw_files import write_csv

from limbeck.data.files.readers import several_reader
from limbeck.data.files.words import BUCKETS, hashed_words
from limbeck.data.own.own_data import own_data
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.plan import make_student
from limbeck.recipes.specs import StudentSpec

N = 40
INPUTS = {
    "title": {"modality": "text", "length": 4},
    "numbers": {"modality": "table", "input": ["price"]},
    "photo": {"modality": "image", "size": [4, 4], "channels": 3},
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    for i in range(N):
        Image.new("RGB", (4, 4), (5 * i, 0, 0)).save(tmp_path / "p" / f"{i}.png")
    rows = [(i, f"cup no. {i}", i, f"p/{i}.png", "xy"[i % 2]) for i in range(N)]
    write_csv(tmp_path / "s.csv", ("id", "title", "price", "photo", "label"), rows)
    return tmp_path


def read(shop: Path, **changed: Any) -> Any:
    return own_data(student={"source": str(shop / "s.csv"), "inputs": INPUTS, **changed})


@pytest.mark.parametrize("in_memory", [True, False])
def test_all_inputs_are_of_one_row(shop: Path, in_memory: bool) -> None:
    (shop / "p" / "3.png").write_bytes(
        b"" if not in_memory else b"no picture"
    )  # empty: told without reading the rest
    task = read(shop, on_error="skip", in_memory=in_memory)
    train = task.splits["train"]
    rows = train.rows(range(len(train)))
    assert set(rows) == set(INPUTS)
    assert {"words", "table", "image"} == {part["kind"] for part in task.preprocessor["inputs"].values()}
    numbers = task.preprocessor["inputs"]["numbers"]
    price = rows["numbers"] * numbers["deviation"][0] + numbers["mean"][0]
    assert [round(float(value)) for value in price] == list(train.keys)
    assert 3 not in train.keys
    assert torch.stack([hashed_words(f"cup no. {key}", 4) for key in train.keys]).equal(rows["title"])
    red = (rows["photo"][:, 0, 0, 0] * 0.5 + 0.5) * 255 / 5
    assert [round(float(value)) for value in red] == list(train.keys)
    assert float(rows["numbers"].mean()) == pytest.approx(0, abs=1e-5)


def test_a_file_is_read_as_in_training(shop: Path) -> None:
    task = read(shop)
    found, places = several_reader(task.preprocessor)(shop / "s.csv")
    train = task.splits["train"]
    for name, value in train.rows([0, 5]).items():
        assert torch.allclose(found[name][[train.keys[0], train.keys[5]]], value)
    assert places[0].startswith("line 2")


def test_views_change_what_is_no_text(shop: Path) -> None:
    task = read(shop)
    rows = task.splits["train"].rows([0, 1])
    seen = task.views["strong"](rows, [torch.manual_seed(0), torch.manual_seed(1)])
    assert seen["title"].equal(rows["title"])
    assert not seen["photo"].equal(rows["photo"])


def test_the_reference_student_sizes_itself(shop: Path) -> None:
    train = read(shop).splits["train"]
    assert make_student(StudentSpec("joined_encoder"), train).probe(train.rows([0, 1])).n_classes == 2
    with pytest.raises(
        ConfigError, match="reads one input, and the rows have title, numbers, photo; take joined"
    ):
        make_student(StudentSpec("small_conv_net"), train)
    with pytest.raises(ConfigError, match="leave inputs out"):
        make_student(StudentSpec("joined_encoder", {"inputs": {"title": "words"}}), train)


@pytest.mark.parametrize(
    ("side", "error", "words"),
    [
        ({"modality": "text"}, ConfigError, "name all under inputs"),
        ({"inputs": {}}, ConfigError, "is a mapping such as"),
        ({"inputs": {"a b": "text"}}, ConfigError, "letters, digits"),
        ({"inputs": {"title": "txet"}}, UnknownNameError, "did you mean 'text'"),
        ({"inputs": {"title": {"modality": "text", "column": "x"}}}, UnknownNameError, "no setting 'column'"),
        ({"inputs": {"titel": "text"}}, UnknownNameError, "did you mean 'title'"),
        ({"inputs": {"title": "table"}}, DataError, "line 2 has 'cup no. 0' in column 'title'"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    shop: Path, side: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        read(shop, **side)


def test_words_are_numbered_alike_everywhere() -> None:
    assert hashed_words("The red, RED cup", 6).tolist() == hashed_words("the RED red CUP!", 6).tolist()
    assert hashed_words("", 2).tolist() == [0, 0]
    many = np.array([int(hashed_words(f"w{i}", 1)) for i in range(500)])
    assert ((many > 0) & (many < BUCKETS)).all()
    assert len(set(many.tolist())) > 450
