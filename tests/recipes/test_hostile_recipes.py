"""A recipe from a stranger imports nothing, whatever classes it names, and has no tags of YAML."""

from __future__ import annotations

import functools
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from limbeck.errors import LimbeckError
from limbeck.recipes.recipe import parse_recipe, recipe_parser
from limbeck.training import DistillationArguments

CLASS = {"class_path": "brought_along.Evil", "init_args": {}}
# The last is the same in a text of YAML, spelled otherwise.
NAMED: list[Any] = [
    CLASS,
    {"x": CLASS},
    [CLASS],
    "brought_along.Evil",
    '{x: {"class\\x5fpath": brought_along.Evil}}',
]
SOME_NAMED = [*NAMED[:2], *(pytest.param(value, marks=pytest.mark.full) for value in NAMED[2:])]


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """A module on the path that writes a marker when it is imported."""
    marker = tmp_path / "marker"
    (tmp_path / "brought_along.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brought_along", raising=False)
    yield marker
    sys.modules.pop("brought_along", None)


def written(tmp_path: Path, recipe: Any) -> list[str]:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe if isinstance(recipe, str) else yaml.safe_dump(recipe))
    return ["--config", str(path)]


@functools.cache
def parser():
    return recipe_parser()


def parsed(arguments: list[str]) -> None:
    try:
        parse_recipe(arguments, parser())
    except LimbeckError as error:
        print(error)


def test_jsonargparse_alone_imports_what_a_recipe_names(tmp_path, marker):
    recipe_parser().parse_args(written(tmp_path, {"data": {"config": {"x": CLASS}}}))
    assert marker.exists()


@pytest.mark.parametrize(
    "value", [NAMED[1], *(pytest.param(v, marks=pytest.mark.full) for v in (CLASS, *NAMED[2:]))], ids=repr
)
def test_no_setting_of_the_trainer_imports(tmp_path, marker, value):
    for field in fields(DistillationArguments):
        parsed(written(tmp_path, {"training": {field.name: value}}))
        assert not marker.exists(), field.name


@pytest.mark.parametrize("value", SOME_NAMED, ids=repr)
@pytest.mark.parametrize("section", ["data", "teacher", "student", "method"])
def test_no_setting_of_a_section_imports(tmp_path, marker, section, value):
    for name in ("name", "model", "config", "training", "lora", "class_map", "freeze"):
        parsed(written(tmp_path, {section: {name: value}}))
        parsed([f"--{section}.{name}", yaml.safe_dump(value, default_flow_style=True)])
        assert not marker.exists(), name


@pytest.mark.parametrize("value", NAMED, ids=repr)
def test_no_teacher_of_several_imports(tmp_path, marker, value):
    for teachers in (value, {"near": value}, {"near": {"config": value}}):
        parsed(written(tmp_path, {"teachers": teachers}))
        assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "data: !!python/object/apply:os.system ['touch marker']",
        "data: {name: !!python/name:brought_along.Evil ''}",
        "data: {config: {x: !!python/module:brought_along ''}}",
        "__path__: {class_path: brought_along.Evil}",
    ],
)
def test_tags_of_yaml_are_refused(tmp_path, marker, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LimbeckError):
        parse_recipe(written(tmp_path, text))
    assert not marker.exists()


def test_other_users_of_jsonargparse_keep_their_settings(tmp_path, marker):
    parsed(written(tmp_path, {"seed": 3}))
    recipe_parser().parse_args(written(tmp_path, {"data": {"config": {"x": CLASS}}}))
    assert marker.exists()
