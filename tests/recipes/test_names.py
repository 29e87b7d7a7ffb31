"""What is wrong with the names in a recipe is told before torch is imported."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from limbeck.errors import ConfigError, LimbeckError
from limbeck.methods.registry import method_names
from limbeck.recipes import training_schema
from limbeck.recipes.names import _TRAINING, check_names, flat_keys, options
from limbeck.recipes.recipe import CONTROLS, known_keys, parse_recipe, shipped_recipes
from limbeck.recipes.yaml_file import yaml_keys

SLIPS = {
    "--training.lr 1": "no key 'training.lr'; did you mean training.learning_rate",
    "--training.max_steps many": "training.max_steps must be a whole number; it is 'many'",
    "--training.learning_rate -1e-4": r"must lie in \[0, ",
    "--training.num_train_epochs 3": "does nothing here",
    "--training.output_dir x": "is set by the recipe itself",
    "--method.name kdd": "no method 'kdd'; did you mean 'kd'",
    "--training.optim adam": "training.optim has no 'adam'; ",
    "--training.lr_scheduler_type COSINE": "training.lr_scheduler_type has no 'COSINE'; did you mean 'cosine'",
    "--training.eval_strategy step": "training.eval_strategy has no 'step'; did you mean 'steps'",
    "--student.model small_conv": "no student 'small_conv'; did you mean 'small_conv_net'",
    "--student.config.chanels 8": "The student 'small_conv_net' has no setting 'chanels'; did you mean 'channels'",
    "--teacher.config.n_classes 8": "was given n_classes in its config, which the data decide",
    "--method.name kd --method.config.temperature -1": r"'temperature' of method 'kd' must lie in \(0, inf\); it is -1",
    "--method.name ucmkd --method.config.reg abc": "'reg' of method 'ucmkd' must be a number; it is 'abc'",
    "--method.name kd --method.config.temprature 3": "no setting 'temprature'; did you mean 'temperature'",
    "--data.name av_digit": "no data set 'av_digit'; did you mean 'av_digits'",
    "--data.config.image sklearn": "Data set 'av_digits' has no setting 'image'; did you mean 'images'",
    "--control shufled": "no control 'shufled'; did you mean 'shuffled'",
    "--studnet.model x": "no key 'studnet.model'; did you mean student.model",
    "--sed=1": "no key 'sed'; did you mean seed",
    "--teacher.training.max_step 1": "teacher.training has no setting 'max_step'",
}


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_one_sentence(line):
    with pytest.raises(LimbeckError, match=SLIPS[line]):
        check_names(dict(options(line.split())), known_keys(), CONTROLS)


def test_torch_is_not_needed_to_tell_it(tmp_path):
    (tmp_path / "r.yaml").write_text("method: {name: kd, config: {temprature: 2}}")
    program = (
        "import sys\nfrom limbeck.cli import main\n"
        f"code = main(['distill', '--config', {str(tmp_path / 'r.yaml')!r}])\n"
        "assert code and not {'torch', 'transformers', 'jsonargparse'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "did you mean 'temperature'" in done.stderr


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_pass(name):
    check_names(dict(flat_keys(yaml_keys(shipped_recipes()[name]))), known_keys(), CONTROLS)


@pytest.mark.parametrize("name", method_names())
def test_every_method_passes_without_settings(name):
    check_names({"method.name": name}, known_keys(), CONTROLS)


def test_the_trainers_names_are_those_of_its_class():
    from limbeck.training.arguments import DistillationArguments

    assert {field.name for field in fields(DistillationArguments) if field.init} == _TRAINING


def test_what_the_command_line_gives_wins():
    with pytest.raises(ConfigError, match=r"no key 'training\.warm'"):
        parse_recipe(["--config", "av_digits_paired", "--training.warm", "1"])
    given = dict(options(["--seed", "3", "--method.config={temperature: 2}", "--training.ema"]))
    assert given == {"seed": 3, "method.config": {"temperature": 2}, "training.ema": ""}


def test_what_looks_like_a_date_and_is_none_is_a_text():
    assert dict(options(["--output_dir", "2026-13-45"])) == {"output_dir": "2026-13-45"}


def plain_kind(hint: Any) -> str:
    """A type as the literal has it: an enumeration of transformers as a text, what is of no plain type as Any."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        kinds = list(dict.fromkeys(plain_kind(kind) for kind in arguments))
        return "Any" if "Any" in kinds else " | ".join(sorted(kinds, key=lambda kind: kind == "None"))
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]".replace("'", '"')
    if get_origin(hint) is not None:
        return f"{get_origin(hint).__name__}[{', '.join(map(plain_kind, arguments))}]"
    if hint in (int, float, str, bool, dict):
        return hint.__name__
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "str"
    return "None" if hint is type(None) else "Any"


def test_the_trainers_schema_is_that_of_its_class():
    from limbeck.training.arguments import DistillationArguments

    hints, expected = get_type_hints(DistillationArguments), []
    for field in fields(DistillationArguments):
        default = field.default if field.default is not MISSING else field.default_factory()
        kind = "str" if field.name == "debug" else plain_kind(hints[field.name])  # of its names one is enough
        if field.init:
            expected.append(f'    "{field.name}": ({kind}, {default!r}),'.replace("'", '"'))
    text = Path(training_schema.__file__).read_text().partition("= {\n")[2].partition("}  # fmt")[0]
    assert text.splitlines() == expected, "write instead:\n" + "\n".join(expected)


def test_the_settings_of_models_are_those_of_their_functions():
    from limbeck.students.names import settings_of
    from limbeck.students.specs import ENCODERS

    for name, make in ENCODERS.items():
        assert list(settings_of(name)) == list(inspect.signature(make).parameters)


def test_the_words_of_transformers_are_all_known():
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType

    from limbeck.training.ranges import CHOICES

    for name, kind in {
        "lr_scheduler_type": SchedulerType,
        "logging_strategy": IntervalStrategy,
        "eval_strategy": IntervalStrategy,
        "save_strategy": SaveStrategy,
    }.items():
        assert list(CHOICES[name]) == [word.value for word in kind]


@pytest.mark.parametrize(
    ("method", "config"),
    [
        ("armada_writing", "{depth: '2'}"),
        ("armada", "{match_trains_aligner: 'true', temperature: 'null'}"),
        ("mlld", "{temperatures: [1e0, 2]}"),
        ("mlld", "{temperatures: '[1, 2]'}"),
        ("a2d", "{maps: '[a]', heads: '3', weight_alignment: '{from: 0, to: 1, until: 0.5}'}"),
    ],
)
def test_a_text_that_the_parser_reads_as_a_value_is_one(method, config, tmp_path):
    (tmp_path / "r.yaml").write_text(f"method: {{name: {method}, config: {config}}}\n")
    assert parse_recipe(["--config", str(tmp_path / "r.yaml")]).method.name == method


def test_a_language_model_that_teaches_may_be_a_folder(tmp_path):
    assert parse_recipe(["--teacher.live", "model", f"--teacher.model={tmp_path}"]).teacher.model == str(
        tmp_path
    )
