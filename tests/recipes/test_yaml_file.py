"""A file that is no recipe is told in one sentence, before anything heavy is loaded."""

from __future__ import annotations

import pytest

from limbeck.errors import ConfigError
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.yaml_file import LARGEST, yaml_keys


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must hold keys and values; write"),
        (b"- 1\n- 2\n", "must hold keys and values"),
        (b"just words", "must hold keys and values"),
        (b"\xff\xfe\x00", "is no YAML: it is no text in UTF-8"),
        (b"seed: \x00", "is no YAML"),
        (b"[1,2", "is no YAML: .* line 1.*; mend it"),
        (b"a: !!python/object/apply:os.system [true]", "is no YAML: could not determine a constructor"),
        (b"seed: 1\nseed: 2\n", "has the key 'seed' twice .line 2.; keep one"),
        (b"training: {max_steps: 1, max_steps: 2}", "has the key 'max_steps' twice .line 1."),
        (b"data: &a {config: *a}", "Line 1 of .* holds itself"),
        (b"data: &a [*a]", "Line 1 of .* holds itself"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"seed: 2026-13-45", "holds a value that cannot be read .*; put it into quotes"),
        (b"method: kd", "method of .* is keys and values, as in `method: {name: kd}`; it is 'kd'"),
        (b"student: minilm", "as in `student: {model: minilm}`"),
        (b"training: 3", "as in `training: {max_steps: ...}`"),
    ],
)
def test_a_file_that_is_no_recipe(content, words, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as told:
        Recipe.load(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_read(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n")
    assert yaml_keys(path) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


def test_aliases_of_aliases_are_counted_before_they_are_written_out(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)))
    with pytest.raises(
        ConfigError, match=r"Line 19 of .* unfolds to more than 500,000 values by its aliases"
    ):
        yaml_keys(path)
    path.write_text("a: " + "x" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="larger than 8,388,608 bytes, which no recipe is"):
        yaml_keys(path)


def test_a_key_without_its_dashes():
    with pytest.raises(
        ConfigError, match=r"'training.max_steps=3' is no option; write --training\.max_steps=3"
    ):
        Recipe.load("av_digits_bagged", ["training.max_steps=3"])
    assert Recipe.load("av_digits_bagged", ["--output_dir", "a=b"]).output_dir == "a=b"
