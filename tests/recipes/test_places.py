"""What a recipe says of files: told before torch is loaded, in the words of those who read them."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from limbeck.errors import LimbeckError
from limbeck.recipes.places import check_places
from limbeck.recipes.recipe import Recipe, parse_recipe
from limbeck.training.ranges import TRACKERS

TABLE = "id,text,price,label\n1,a cat,3,cat\n2,a dog,4,dog\n"
# What the recipe says, and what is told of it; None: nothing.
SAID = {
    "all there": ({"source": "rows.csv", "modality": "text"}, None),
    "no file": ({"source": "row.csv", "modality": "text"}, "row.csv does not exist"),
    "no label": ({"source": "rows.csv", "modality": "text", "label": "labl"}, "no column 'labl' for student.label"),
    "no text": ({"source": "rows.csv", "modality": "text", "input": "txt"}, "no column 'txt' for student.input"),
    "no number": ({"source": "rows.csv", "modality": "table", "input": ["prize"]}, "'prize' for student.input"),
    "no sound": ({"source": "rows.csv", "modality": "audio", "input": "wav"}, "no column 'wav' for student.input"),
    "one of several": (
        {"source": "rows.csv", "inputs": {"text": "text", "cost": "table"}}, "'cost' for student.inputs.cost.input",
    ),
    "a setting": ({"source": "rows.csv", "modality": "text", "lable": "label"}, "no setting 'lable'"),
    "no rows": ({"source": "empty.jsonl", "modality": "text"}, "empty.jsonl holds no rows"),
    "on the hub": ({"source": "hf:acme/none", "modality": "text"}, None),
    "a folder, looked through when it is read": ({"source": "photos", "modality": "image", "label": "x"}, None),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rows.csv").write_text(TABLE)
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def looked_at(place: Path, recipe: dict[str, Any], **about: Any) -> str | None:
    (place / "r.yaml").write_text(yaml.safe_dump(recipe))
    try:
        parse_recipe(["--config", str(place / "r.yaml")], look=partial(check_places, **about))
    except LimbeckError as error:
        return str(error)
    return None


@pytest.mark.parametrize("case", SAID)
def test_sources_and_their_columns(case: str, place: Path) -> None:
    student, words = SAID[case]
    told = looked_at(place, {"data": {"name": "own", "config": {"student": student}}})
    assert told is None if words is None else told is not None and words in told


def test_several_teachers_each_with_a_source(place: Path) -> None:
    side = {"source": "rows.csv", "modality": "text"}
    teachers = {
        "one": {**side, "link": "paired"},
        "two": {"source": "none.csv", "modality": "image"},
        "three": {},
    }
    config = {"student": side, "teachers": teachers}
    assert "none.csv does not exist" in str(looked_at(place, {"data": {"name": "own", "config": config}}))


@pytest.mark.parametrize("name", ["texts", "prompts", "instructions"])
def test_tables_of_other_data_sets(name: str, place: Path) -> None:
    told = looked_at(place, {"data": {"name": name, "config": {"path": "no.csv"}}})
    assert "no.csv does not exist" in str(told)
    assert looked_at(place, {"data": {"name": name, "config": {"path": "rows.csv"}}}) is None
    assert (
        looked_at(place, {"data": {"name": name, "config": {"path": "$NOWHERE/no.csv"}}}) is None
    )  # told later


def test_a_bank_is_looked_for_where_the_method_asks_a_teacher(place: Path) -> None:
    assert "There is no bank at nope" in str(
        looked_at(place, {"method": {"name": "kd"}, "teacher": {"bank": "nope"}})
    )
    assert looked_at(place, {"method": {"name": "supervised"}, "teacher": {"bank": "nope"}}) is None
    assert "is no bank" in str(looked_at(place, {"method": {"name": "kd"}, "teacher": {"bank": "photos"}}))


def test_of_several_teachers_the_bank_of_the_one_that_is_asked(place: Path) -> None:
    recipe = {"method": {"name": "kd"}, "teachers": {"one": {"live": "model"}, "two": {"bank": "nope"}}}
    assert "There is no bank at nope" in str(looked_at(place, recipe))
    assert looked_at(place, recipe, teacher="one") is None


def test_a_tracker_whose_package_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "wandb", ("no_such_package",))
    recipe = {"training": {"report_to": ["tensorboard", "wandb"]}}
    assert "training.report_to: wandb needs its package" in str(looked_at(place, recipe))
    assert Recipe.load(place / "r.yaml").training["report_to"] == ["tensorboard", "wandb"]
    (place / "old_runs").mkdir()  # a folder of that name is no package
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setitem(TRACKERS, "wandb", ("old_runs",))
    assert "wandb needs its package" in str(looked_at(place, recipe))


def test_a_recipe_can_be_read_where_its_files_are_not(place: Path) -> None:
    (place / "r.yaml").write_text("data: {name: texts, config: {path: no.csv}}")
    assert parse_recipe(["--config", str(place / "r.yaml")]).data.config["path"] == "no.csv"


@pytest.mark.parametrize("command", ["distill", "diagnose", "compare"])
def test_torch_is_not_needed_to_tell_it(command: str, place: Path) -> None:
    config = {"student": {"source": "rows.csv", "modality": "text", "label": "labl"}}
    (place / "r.yaml").write_text(yaml.safe_dump({"data": {"name": "own", "config": config}}))
    program = (
        "import sys\nfrom limbeck.cli import main\n"
        f"code = main([{command!r}, '--config', 'r.yaml'])\n"
        "assert code and not {'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert "rows.csv has no column 'labl' for student.label; did you mean 'label'?" in done.stderr
