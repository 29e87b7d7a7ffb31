"""A chain as it is written: patches, and stages that name earlier ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limbeck.errors import ConfigError, UnknownNameError
from limbeck.recipes import Chain, load_chain, make_chain
from limbeck.recipes.chain_spec import patched, shipped_chains


def made(stages: dict[str, Any], base: Any = None) -> Chain:
    return make_chain({"base": base or {}, "stages": stages, "output_dir": "out"})


def test_stages_are_patches_dotted_or_nested() -> None:
    base = {"training": {"max_steps": 7, "ema": True}, "seed": 3, "output_dir": "left/behind"}
    chain = made(
        {"a": {"training.max_steps": 9, "method": {"name": "kd"}}, "b": {"training": {"ema": False}}}, base
    )
    assert list(chain.stages) == ["a", "b"]
    assert chain.stages["a"].training == {"max_steps": 9, "ema": True}
    assert chain.stages["b"].training == {"max_steps": 7, "ema": False}
    assert {recipe.seed for recipe in chain.stages.values()} == {3}
    assert chain.recipe("a").output_dir == str(Path("out/a"))
    assert chain.stages["b"].method.name == "supervised"


def test_another_name_leaves_the_config_behind() -> None:
    base = {"method": {"name": "kd", "config": {"temperature": 2.0}}, "teacher": {"bank": "b"}}
    assert patched(base, {"method": {"name": "fitnets"}})["method"] == {"name": "fitnets"}
    assert patched(base, {"method": {"config": {"schedule": 1}}})["method"] == {
        "name": "kd",
        "config": {"temperature": 2.0, "schedule": 1},
    }
    assert "teacher" not in patched(base, {"teacher": None})
    several = {"teachers": {"x": {"model": "m", "config": {"a": 1}, "seed": 2}}}
    assert patched(several, {"teachers": {"x": {"model": "n"}}})["teachers"]["x"] == {"model": "n", "seed": 2}


def test_a_base_may_be_a_recipe_that_ships_or_lies_beside(tmp_path: Path) -> None:
    assert made({"a": {}}, "av_digits_paired").stages["a"].method.name == "kd"
    (tmp_path / "mine.yaml").write_text("seed: 5\noutput_dir: x\n")
    (tmp_path / "chain.yaml").write_text("base: mine.yaml\nstages: {a: {}}\n")
    chain = load_chain(tmp_path / "chain.yaml")
    assert chain.stages["a"].seed == 5
    assert chain.output_dir == "runs/chain"
    assert load_chain(tmp_path / "chain.yaml", output_dir="there").output_dir == "there"


def test_a_stage_stands_for_network_weights_and_bank() -> None:
    chain = made(
        {
            "a": {"student": {"model": "table_encoder", "config": {"n_columns": 3}}, "teacher.bank": "given"},
            "b": {"student.model": "stage:a", "teacher": {"model": "stage:a", "live": "model"}},
            "c": {"student": {"model": "table_encoder", "config": {"n_columns": 3}, "init": "stage:b"}},
            "d": {"teacher.bank": "stage:c"},
            "e": {"teacher.bank": "stage:a", "student.model": "stage:b"},
            "f": {"teachers": {"x": {"live": "stage:e"}, "y": {"bank": "stage:a"}}},
            "g": {"teachers": {"x": {"bank": "stage:f"}, "y": {"bank": "stage:f"}}},
        }
    )
    b, c, d, e, f, g = (chain.recipe(name) for name in "bcdefg")
    assert (b.student.model, b.student.config) == ("table_encoder", {"n_columns": 3})
    assert b.student.init == b.teacher.init == str(Path("out/a/student"))
    assert (b.teacher.model, b.teacher.train, b.teacher.live) == ("table_encoder", False, "model")
    assert c.student.init == str(Path("out/b/student"))
    assert d.teacher.bank == str(Path("out/c/bank"))
    assert e.teacher.bank == "given"
    assert e.student.config == {"n_columns": 3}
    x = f.teachers["x"]
    assert (x.live, x.model, x.init) == ("model", "table_encoder", str(Path("out/e/student")))
    assert g.teachers["x"].bank == str(Path("out/f/x/bank"))
    assert g.teachers["y"].bank == "given"
    assert chain.uses("b") == [("a", "weights"), ("a", "teacher")]
    assert chain.uses("g") == [("f", "bank")]


@pytest.mark.parametrize(
    ("stages", "error", "words"),
    [
        ({"a": {"student.model": "stage:b"}, "b": {}}, ConfigError, "Stage 'a': student.model .*comes later"),
        ({"a": {"student.init": "stage:a"}}, ConfigError, "the stage itself"),
        (
            {"a": {"teacher.model": "stage:b"}, "b": {"teacher.model": "stage:a"}},
            ConfigError,
            "need each other",
        ),
        ({"hints": {}, "b": {"teacher.bank": "stage:hint"}}, UnknownNameError, "did you mean 'hints'"),
        ({"a": {}, "b": {"data.config": {"x": "stage:a"}}}, ConfigError, "data.config.x cannot be 'stage:a'"),
        ({"a": {"method.name": "kdd"}}, UnknownNameError, "Stage 'a': There is no method 'kdd'"),
        ({"a": {"metod": {"name": "kd"}}}, ConfigError, "Stage 'a': .*method.name"),
        ({"a": {"output_dir": "x"}}, ConfigError, "leave output_dir out"),
        ({"a/b": {}}, ConfigError, "letters, digits"),
        ({"..": {}}, ConfigError, "letters, digits"),
        ({"a": [1]}, ConfigError, "keys of a recipe"),
        ({}, ConfigError, "needs stages"),
    ],
)
def test_refusals(stages: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        made(stages)
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: {a: {}, a: {}}", "the key 'a' twice"),
        ("stages: {a: {}}\nstagse: 1", "did you mean 'stages'"),
        ("[1, 2]", "keys and values"),
        ("stages: {a: [", "is no YAML"),
        ("stages: {a: {}}\nbase: nowhere.yaml", "no recipe 'nowhere.yaml' for the base"),
        ("stages: {a: {}}\nbase: [1]", "The base of a chain"),
        ("stages: {a: {}}\noutput_dir: 3", "needs an output_dir"),
    ],
)
def test_files_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "chain.yaml").write_text(text)
    with pytest.raises((ConfigError, UnknownNameError), match=words):
        load_chain(tmp_path / "chain.yaml")


def test_every_shipped_chain_is_one_and_says_what_it_is() -> None:
    assert "fitnets" in shipped_chains()
    for name, path in shipped_chains().items():
        assert len(load_chain(name).stages) > 1
        assert path.read_text(encoding="utf-8").startswith("# ")
