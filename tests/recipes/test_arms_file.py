"""Arms in a file: what each changes, and what a wrong file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.errors import ConfigError, LimbeckError, UnknownNameError
from limbeck.recipes import MethodSpec, Recipe
from limbeck.recipes.arms_file import changed, read_arms, shipped_arms


def written(folder: Path, text: str) -> Path:
    path = folder / "arms.yaml"
    path.write_text(text)
    return path


def test_nested_and_dotted_keys(tmp_path: Path) -> None:
    file = read_arms(
        written(
            tmp_path,
            "controls: [random]\narms:\n  a: {method: {name: kd, config: {temperature: 2}}, given: answers}\n"
            "  b: {method.config.temperature: 0.5, training.max_steps: 3, controls: []}\n",
        )
    )
    assert file.controls == ("random",)
    assert (file.arms["a"].given, file.arms["a"].controls, file.arms["b"].controls) == ("answers", None, ())
    recipe = Recipe(method=MethodSpec("kd", {"temperature": 4.0, "weight_supervised": 2.0}))
    a, b = (changed(recipe, patch.changes, name) for name, patch in file.arms.items())
    assert a.method.config == {"temperature": 2, "weight_supervised": 2.0}
    assert (b.method.config["temperature"], b.training["max_steps"]) == (0.5, 3)
    assert recipe.method.config["temperature"] == 4.0


def test_another_method_starts_from_its_own_settings() -> None:
    recipe = Recipe(method=MethodSpec("kd", {"temperature": 4.0}))
    assert changed(recipe, {"method": {"name": "ucmkd"}}, "x").method.config == {}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("arms: {a: {mehtod.name: kd}}", UnknownNameError, "no group 'mehtod'; did you mean 'method'"),
        ("arms: {a: {method: {name: kdd}}}", LimbeckError, "'kdd'"),
        ("arms: {a: {training.max_step: 3}}", LimbeckError, "max_step"),
        ("arms: [a]", ConfigError, "needs 'arms:'"),
        ("arms: {}", ConfigError, "needs 'arms:'"),
        ("arms: {a: 3}", ConfigError, "must be a mapping"),
        ("arm: {a: {}}\narms: {a: {}}", ConfigError, "unknown key 'arm'"),
        ("arms: {a: {controls: shuffled}}", ConfigError, "must be a list of names"),
        ("arms: {a: [", ConfigError, "is no YAML"),
        ("arms: {a: !!python/object/apply:os.system [true]}", ConfigError, "is no YAML"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, error: type[Exception], words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(error, match=words):
        read_and_change(path)


def read_and_change(path: Path) -> None:
    for name, patch in read_arms(path).arms.items():
        changed(Recipe(), patch.changes, name)


def test_those_that_ship() -> None:
    assert shipped_arms()
    assert all(read_arms(name).arms for name in shipped_arms())
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        read_arms("digit")
