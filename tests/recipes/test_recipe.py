"""One schema for Python, YAML and command line; wrong keys come with the nearest valid ones."""

import importlib
import inspect
from dataclasses import asdict

import pytest

from limbeck.data.registry import TASKS
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.recipes import MethodSpec, Recipe, parse_recipe
from limbeck.recipes.recipe import check_recipe, shipped_recipes


def test_a_saved_recipe_is_the_recipe(tmp_path):
    recipe = Recipe(method=MethodSpec("kd", {"temperature": 2.0}), training={"max_steps": 7}, seed=3)
    recipe.save(tmp_path / "recipe.yaml")
    assert asdict(Recipe.load(tmp_path / "recipe.yaml")) == asdict(recipe)


def test_explicit_nulls_survive(tmp_path):
    recipe = Recipe.from_dict(
        {"training": {"lr_scheduler_kwargs": None, "warmup_steps": 0.5}, "teacher": {"bank": None}}
    )
    recipe.save(tmp_path / "recipe.yaml")
    text = (tmp_path / "recipe.yaml").read_text()
    assert "bank: null" in text
    assert Recipe.load(tmp_path / "recipe.yaml").teacher.bank is None


def test_the_command_line_wins(tmp_path):
    Recipe(seed=1, training={"learning_rate": 1e-3}).save(tmp_path / "recipe.yaml")
    recipe = Recipe.load(
        tmp_path / "recipe.yaml", ["--training.learning_rate", "1e-4", "--method.name", "kd"]
    )
    assert recipe.training["learning_rate"] == 1e-4
    assert recipe.method.name == "kd"
    assert recipe.seed == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metod: {name: kd}", "method.name"),
        ("training: {learning_rte: 1}", "training.learning_rate"),
        ("training: {learning_rate: fast}", "training.learning_rate"),
        ("training: {output_dir: x}", "output_dir"),
        ("method: {name: kd, config: {temprature: 2}}", "'temperature'"),
        ("method: {name: kd, config: {temperature: -1}}", "temperature"),
        ("method: {name: kd, config: {temperature: [1]}}", "must be a number"),
        ("control: shufled", "shuffled"),
        ("seed: many", "seed"),
        ("student: {pooling: men}", "'student.pooling' must be one of mean, last, cls.*did you mean 'mean'"),
        ("student: {dtype: float16}", "'student.dtype' must be one of float32, bfloat16, not 'float16'"),
    ],
)
def test_a_wrong_key_or_value_is_one_sentence(tmp_path, text, words):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises((ConfigError, UnknownNameError), match=words) as error:
        Recipe.load(tmp_path / "recipe.yaml")
    assert "\n" not in str(error.value)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(UnknownNameError, match="'bagkd'"):
        parse_recipe(["--method.name", "bagdk"])


def test_keys_of_the_recipe_exist_once():
    with pytest.raises(ConfigError, match="recipe's own"):
        check_recipe(Recipe(training={"seed": 1}))
    with pytest.raises(ConfigError, match=r"training\.max_steps"):
        check_recipe(Recipe(training={"max_step": 1}))


def test_abbreviations_are_refused():
    with pytest.raises(ConfigError):
        parse_recipe(["--see", "1"])


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_is_valid(name):
    recipe = parse_recipe(["--config", name])
    assert recipe.output_dir == f"runs/{name}"
    assert recipe.training["max_steps"] >= 100


def test_a_recipe_that_is_not_there_names_those_that_ship():
    with pytest.raises(UnknownNameError, match="av_digits_paired"):
        parse_recipe(["--config", "av_digits_pair"])


def test_a_setting_that_is_given_is_kept_even_if_it_equals_the_trainers_default(tmp_path):
    recipe = parse_recipe(["--training.eval_strategy", "no", "--training.per_device_eval_batch_size", "8"])
    assert recipe.training == {"eval_strategy": "no", "per_device_eval_batch_size": 8}
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml").training == recipe.training
    assert parse_recipe([]).training == {}


def test_a_control_made_in_python_is_checked_too():
    with pytest.raises(UnknownNameError, match="'shuffled'"):
        check_recipe(Recipe(control="shufled"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_name_settings_that_their_data_set_has(name):
    recipe = Recipe.load(name)
    module, function = TASKS[recipe.data.name]
    known = inspect.signature(getattr(importlib.import_module(f"limbeck.data.{module}"), function)).parameters
    assert set(recipe.data.config) <= set(known)
