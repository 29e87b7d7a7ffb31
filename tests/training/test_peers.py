"""Networks beside the student, by recipe: who learns, who follows, who is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import tiny_task

from limbeck.errors import ConfigError, UnknownNameError
from limbeck.methods.registry import METHODS
from limbeck.plan import make_trainer
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.recipes.specs import PeerSpec, TeacherSpec
from limbeck.runner import run
from limbeck.training.ema import EMA

TRAINING = {"max_steps": 30, "n_labelled": 6, "n_unlabelled": 12, "learning_rate": 1e-2}
NET = {"n_columns": 6}


def recipe(folder: Path, method: str, **changed: Any) -> Recipe:
    training = {**TRAINING, **changed.pop("training", {})}
    return Recipe(
        method=MethodSpec(method), training=training, student=StudentSpec("table_encoder", NET),
        output_dir=str(folder), **changed,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _mutual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "mutual", "examples.worked:Mutual")
    monkeypatch.setitem(METHODS, "adapted_teacher", "examples.worked:AdaptedTeacher")


def test_a_fellow_learns_and_may_be_the_one_that_is_scored(tmp_path: Path) -> None:
    fellow = {"fellow": PeerSpec(model="table_encoder", config={**NET, "hidden": [8]})}
    student, other = (
        run(recipe(tmp_path / who, "mutual", peers=fellow, training={"scores": who}), task=tiny_task())
        for who in ("student", "fellow")
    )
    assert sum(p.numel() for p in other.student.parameters()) < sum(
        p.numel() for p in student.student.parameters()
    )
    assert min(student.scores["test"], other.scores["test"]) > 0.5
    assert (tmp_path / "fellow" / "recipe.yaml").read_text().count("fellow") >= 1
    again = Recipe.load(tmp_path / "fellow" / "recipe.yaml")
    assert again.peers == fellow


def test_an_average_by_its_name_is_that_of_training_ema(tmp_path: Path) -> None:
    short = run(
        recipe(tmp_path / "a", "supervised", training={"ema": True, "ema_decay": 0.9}), task=tiny_task()
    )
    peers = {"ema": PeerSpec(follows=0.9)}
    long = run(recipe(tmp_path / "b", "supervised", peers=peers), task=tiny_task())
    assert short.scores == long.scores
    for one, same in zip(short.student.state_dict().values(), long.student.state_dict().values()):
        assert torch.equal(one, same)


def test_the_student_may_be_scored_beside_its_average(tmp_path: Path) -> None:
    settings = recipe(tmp_path, "supervised", training={"ema": True, "scores": "student"})
    made = make_trainer(settings, tiny_task(), {}, tmp_path).model
    assert made.scored is made.student
    assert isinstance(made.peers["ema"], EMA)


def test_an_adapter_in_a_live_teacher_by_recipe(tmp_path: Path) -> None:
    teacher = TeacherSpec(
        live="model", view="same", train=False, model="table_encoder", config=NET,
        changes=[{"name": "adapter", "width": 4}],
    )  # fmt: skip
    settings = recipe(tmp_path, "adapted_teacher", teacher=teacher)
    result = run(settings, task=tiny_task())
    assert 0 <= result.scores["test"] <= 1
    for changes, words in (
        ([{"name": "adaptor"}], "There is no change 'adaptor' of a teacher; did you mean 'adapter'"),
        ([{"name": "adapter", "wide": 3}], "An adapter has no setting 'wide'; did you mean 'width'"),
        ([{"name": "adapter", "at": "body"}], "has no linear layer 'body'"),
    ):
        with pytest.raises(UnknownNameError, match=words):
            run(
                replace(settings, teacher=replace(teacher, changes=changes), output_dir=str(tmp_path / "x")),
                task=tiny_task(),
            )
    with pytest.raises(ConfigError, match="trains in a live one; set live: model"):
        run(
            replace(settings, teacher=replace(teacher, live=None), output_dir=str(tmp_path / "y")),
            task=tiny_task(),
        )


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({}, ConfigError, "speaks of the peer 'fellow', and there is none"),
        ({"peers": {"fellow": PeerSpec()}}, ConfigError, "neither follows the student nor has a model"),
        (
            {
                "peers": {"fellow": PeerSpec(model="table_encoder", config=NET)},
                "training": {"scores": "felow"},
            },
            UnknownNameError,
            "training.scores has no network 'felow'; did you mean 'fellow'",
        ),
    ],
)
def test_refusals(changed: dict[str, Any], error: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        run(recipe(tmp_path, "mutual", **changed), task=tiny_task())
