"""From a recipe to a diagnosis: by each link, each teacher, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from limbeck import diagnose
from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.errors import ConfigError, LinkError, UnknownNameError
from limbeck.recipes import MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.teachers import CallableTeacher
from limbeck.teachers.live import LiveTeacher

METHOD = {"paired": "kd", "bagged": "bagkd", "by_class": "ucmkd", "unpaired": "feature_ot"}
N = 320


@pytest.fixture(scope="module")
def toy() -> ModuleType:
    import toy

    return toy


@pytest.fixture
def bank(toy: ModuleType, tmp_path: Path) -> Bank:
    return toy.bank(tmp_path / "bank", n=N)


def task(toy: ModuleType, link: str, **roles: Examples) -> Task:
    """Rows of which twelve have a label, ninety to judge, sixty to test."""
    rows = toy.examples(N, n_labelled=12)
    x, classes = toy.clouds(N + 150, toy.WIDTH, "student")
    named = Examples.classified({"x": x}, tuple(f"s{i}" for i in range(len(x))), classes, toy.CLASSES)
    held = {"validation": named.subset(range(N, N + 90)), "test": named.subset(range(N + 90, N + 150))}
    theirs = Examples.classified(
        {"x": toy.clouds(N, 7, "teacher")[0]},
        tuple(f"t{i}" for i in range(N)),
        torch.arange(N) % 3,
        toy.CLASSES,
    )
    side = TeacherSide(Splits(link=theirs), toy.link_to(link, rows))
    return Task("toy", Splits(**{"train": rows, **held, **roles}), {"teacher": side})


def recipe(folder: Path, link: str = "paired", **changed: Any) -> Recipe:
    values = {
        "student": StudentSpec("table_encoder", {"n_columns": 5}),
        "method": MethodSpec(METHOD[link]),
        "training": {"max_steps": 30, "n_labelled": 6, "learning_rate": 1e-2, "use_cpu": True},
        "output_dir": str(folder / "run"),
    }
    return Recipe(**{**values, **changed})


@pytest.mark.parametrize("link", METHOD)
def test_each_link(link: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    found = diagnose(recipe(tmp_path, link), task=task(toy, link), bank=bank, alone=0.5)
    reached = link in ("paired", "bagged")
    assert (found.verdict != "cannot help") == reached
    assert found.link == link
    assert found.bound is None
    assert found.room.in_bags == (link == "bagged")
    assert ("nothing_linked" in [reason.name for reason in found.reasons]) == (not reached)


def test_the_student_is_trained_alone_once_and_the_test_split_stays_shut(
    toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    shut = task(toy, "paired")
    found = diagnose(recipe(tmp_path), task=shut, bank=bank)
    assert found.alone_from == "a training without a teacher"
    assert 1 / 3 < found.room.alone <= 1
    spoiled = task(toy, "paired", test=_relabelled(shut, toy))
    again = diagnose(recipe(tmp_path), task=spoiled, bank=bank)
    assert replace(again, seconds=0.0) == replace(found, seconds=0.0)  # no label of a test row is read
    assert not (tmp_path / "run").exists()  # nothing but what the recipe's teacher needs


def _relabelled(made: Task, toy: ModuleType) -> Examples:
    with made.splits.final_evaluation() as final:
        test = final["test"]
        return Examples.classified(test.inputs, test.keys, (test.labels + 1) % 3, toy.CLASSES)


def test_a_shuffled_teacher_cannot_help(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    made = recipe(tmp_path, control="shuffled")
    right = diagnose(recipe(tmp_path), task=task(toy, "paired"), bank=bank, alone=0.5)
    wrong = diagnose(made, task=task(toy, "paired"), bank=bank, alone=0.5)
    assert right.gain is not None
    assert wrong.gain is not None
    assert right.gain.estimate > wrong.gain.estimate
    assert wrong.verdict == "cannot help"


def test_a_probe_stands_in_where_nothing_is_trained(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    found = diagnose(recipe(tmp_path), task=task(toy, "paired"), bank=bank, train_alone=False)
    assert "probe" in found.alone_from
    assert found.pilot is not None
    assert found.room.alone == found.pilot.alone


def test_a_live_teacher_is_asked(toy: ModuleType, tmp_path: Path) -> None:
    made = task(toy, "paired")
    teacher = CallableTeacher(
        lambda inputs: {"logits": inputs["x"][:, :3]}, class_names=toy.CLASSES, access="logits"
    )
    live = LiveTeacher(teacher, made.teacher.splits["link"])
    found = diagnose(recipe(tmp_path), task=made, bank=live, alone=0.5)
    assert found.room.n_new == N - 12
    assert found.facts["information_without_wrong_links"] > 0


def test_a_teacher_of_features_is_made_to_speak(toy: ModuleType, tmp_path: Path) -> None:
    made = recipe(tmp_path, method=MethodSpec("feature_ot"))
    for changed, words in (
        ({"head": None}, "a ridge probe on its features"),
        ({}, "its head on its features"),
    ):
        bank = toy.bank(tmp_path / "features", n=N, logits=None, **changed)
        found = diagnose(made, task=task(toy, "paired"), bank=bank, alone=0.5)
        assert found.room.n_new == N - 12
        assert "no_predictions" not in [reason.name for reason in found.reasons]
        assert words in " ".join(found.warnings)


def test_a_teacher_without_predictions_cannot_be_told_of(toy: ModuleType, tmp_path: Path) -> None:
    features = toy.bank(tmp_path / "features", n=N, logits=None, head=None, labels=None)
    made = recipe(tmp_path, method=MethodSpec("feature_ot"))
    found = diagnose(made, task=task(toy, "paired"), bank=features, alone=0.5)
    assert found.verdict == "cannot be told"
    assert [reason.name for reason in found.reasons] == ["no_predictions"]


def test_one_of_several_teachers(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    made = recipe(
        tmp_path, teachers={"a": TeacherSpec(bank=str(bank.path)), "b": TeacherSpec(bank=str(bank.path))}
    )
    assert diagnose(made, task=task(toy, "paired"), teacher="b", alone=0.5).teacher == "b"
    with pytest.raises(ConfigError, match="several teachers; say which one to diagnose: a, b"):
        diagnose(made, task=task(toy, "paired"))
    with pytest.raises(UnknownNameError, match="no teacher 'c'"):
        diagnose(made, task=task(toy, "paired"), teacher="c")


def test_what_cannot_be_diagnosed_is_refused(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    made = task(toy, "paired")
    with pytest.raises(ConfigError, match="'supervised' has no teacher"):
        diagnose(recipe(tmp_path, method=MethodSpec("supervised")), task=made)
    with pytest.raises(ConfigError, match="alone=58"):
        diagnose(recipe(tmp_path), task=made, bank=bank, alone=58)
    with pytest.raises(LinkError, match="'bagkd' works with data linked as bagged"):
        diagnose(recipe(tmp_path, "bagged"), task=made, bank=bank)
    values = replace(made, splits=Splits(train=toy.posed("regression")))
    with pytest.raises(ConfigError, match="predicts regression"):
        diagnose(recipe(tmp_path, method=MethodSpec("feature_ot")), task=values, bank=bank)


def test_the_file_says_all(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    found = diagnose(recipe(tmp_path), task=task(toy, "paired"), bank=bank, alone=0.5)
    read = json.loads(found.save(tmp_path / "out").read_text())
    assert read["verdict"] == found.verdict
    assert read["sentence"] == found.sentence
    assert read["expectation"]["gain"]["low"] <= read["expectation"]["gain"]["estimate"]
    assert read["room"]["headroom"] == 0.5
    assert {"pilot", "information", "reasons", "warnings", "facts", "helps_more", "version"} <= set(read)
