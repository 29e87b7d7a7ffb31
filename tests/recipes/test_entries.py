"""An option for one part of an entry leaves the rest of that entry as the file has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limbeck.errors import LimbeckError
from limbeck.recipes import Recipe

FILE = """
data:
  name: own
  config:
    student: {source: rows.csv, modality: text, label: kind, class_names: ["1", "no"]}
    link: {kind: paired, by: sku}
    validation_share: 0.2
teachers:
  one: {bank: a, training: {max_steps: 3, learning_rate: 1.0e-5}}
  two: {bank: b}
method: {name: kd}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(FILE)
    return path


def config(file: Path, *options: str) -> dict[str, Any]:
    return Recipe.load(file, options).data.config


STUDENT = {"source": "rows.csv", "modality": "text", "label": "kind", "class_names": ["1", "no"]}


@pytest.mark.parametrize(
    "options", [["--data.config.student.label", "shop"], ["--data.config.student.label=shop"]]
)
def test_the_rest_of_the_entry_stays(file: Path, options: list[str]) -> None:
    found = config(file, *options)
    assert found["student"] == {**STUDENT, "label": "shop"}
    assert found["link"] == {"kind": "paired", "by": "sku"}
    assert found["validation_share"] == 0.2


def test_options_add_up_in_their_order(file: Path) -> None:
    keys = ["--data.config.student.key", "id", "--data.config.student.key", "sku"]
    mel = ["--data.config.student.log_mel.bins", "40", "--data.config.student.log_mel.rate", "8000"]
    found = config(file, *keys, *mel)
    assert found["student"] == {**STUDENT, "key": "sku", "log_mel": {"bins": 40, "rate": 8000}}


def test_a_whole_entry_still_takes_the_place_of_the_old_one(file: Path) -> None:
    found = config(
        file, "--data.config.student={source: b.csv, modality: text}", "--data.config.student.label", "x"
    )
    assert found["student"] == {"source": "b.csv", "modality": "text", "label": "x"}


def test_a_whole_setting_takes_the_place_of_parts_before_it(file: Path) -> None:
    part, whole = ["--data.config.student.label", "x"], ["--data.config", "{student: {source: b.csv}}"]
    assert config(file, *whole, *part)["student"] == {"source": "b.csv", "label": "x"}
    assert config(file, *part, *whole)["student"] == {"source": "b.csv"}
    teachers = ["--teachers", "{one: {bank: new}}"]
    recipe = Recipe.load(file, [*teachers, "--teachers.one.seed", "3"])
    assert (recipe.teachers["one"].bank, recipe.teachers["one"].seed, list(recipe.teachers)) == (
        "new",
        3,
        ["one"],
    )


def test_texts_that_look_like_numbers_stay_texts(file: Path) -> None:
    names = ["--data.config.student.class_names", '["1e5", "2e5", "007"]']
    found = config(file, *names, "--data.config.student.key", "sku", "--data.config.student.x", "1e-4")
    assert found["student"]["class_names"] == ["1e5", "2e5", "007"]
    assert found["student"]["x"] == 1e-4


@pytest.mark.parametrize("flag", ["--data.config.student.label", "--teachers.one.bank"])
def test_a_missing_value_takes_no_option_for_one(file: Path, flag: str) -> None:
    with pytest.raises(LimbeckError):
        Recipe.load(file, [flag, "--training.max_steps=100"])


def test_what_is_no_yaml_is_a_text(file: Path) -> None:
    assert config(file, "--data.config.student.label", "[a: {b")["student"]["label"] == "[a: {b"


def test_a_part_of_the_wrong_type_is_refused(file: Path) -> None:
    with pytest.raises(LimbeckError, match="many"):
        Recipe.load(file, ["--teachers.one.seed", "many"])


def test_an_entry_that_was_none_and_one_that_was_no_mapping(file: Path) -> None:
    found = config(file, "--data.config.teacher.source", "photos", "--data.config.validation_share.x", "1")
    assert found["teacher"] == {"source": "photos"}
    assert found["validation_share"] == {"x": 1}


def test_of_several_teachers_one(file: Path) -> None:
    recipe = Recipe.load(file, ["--teachers.one.bank", "c", "--teachers.one.training.max_steps", "5"])
    assert recipe.teachers["one"].bank == "c"
    assert recipe.teachers["one"].training == {"max_steps": 5, "learning_rate": 1e-5}
    assert recipe.teachers["two"].bank == "b"


def test_a_later_file_counts(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("data: {config: {student: {source: b.csv}}}")
    found = config(file, "--config", str(other), "--data.config.student.modality", "text")
    assert found["student"] == {"source": "b.csv", "modality": "text"}


def test_what_cannot_be_read_is_told_by_the_parser(file: Path) -> None:
    with pytest.raises(LimbeckError):
        config(file, "--data.config.student.label")
