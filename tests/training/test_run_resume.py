"""``run(recipe, resume=True)`` goes on with an interrupted run and ends with the numbers of a whole one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import tiny_task

from limbeck.banks.bank import Bank
from limbeck.errors import CheckpointError
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.runner import run
from limbeck.teachers.live import LiveTeacher
from limbeck.teachers.module import ModuleTeacher
from limbeck.training.callbacks import RunLog


class Killed(BaseException):
    pass


def recipe(folder: Path) -> Recipe:
    training = {
        "max_steps": 24,
        "n_labelled": 6,
        "n_unlabelled": 9,
        "save_strategy": "steps",
        "save_steps": 5,
    }
    return Recipe(
        method=MethodSpec("kd"),
        student=StudentSpec("table_encoder", {"n_columns": 6, "dropout": 0.2}),
        training={**training, "eval_steps": 3, "ema": True},
        output_dir=str(folder),
    )


@pytest.fixture
def teacher() -> ModuleTeacher:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    return ModuleTeacher(net, class_names=tiny_task().class_names)


def test_interrupted_and_resumed(
    teacher: ModuleTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank.build(tmp_path / "bank", teacher, tiny_task().teacher.splits["link"], batch_size=16)
    whole = run(recipe(tmp_path / "whole"), task=tiny_task(), bank=bank)
    on_log = RunLog.on_log

    def dies(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        on_log(self, args, state, control, **kwargs)
        if state.global_step == 18:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunLog, "on_log", dies)
        with pytest.raises(Killed):
            run(recipe(tmp_path / "cut"), task=tiny_task(), bank=bank)
    resumed = run(recipe(tmp_path / "cut"), task=tiny_task(), bank=bank, resume=True)
    assert resumed.scores == whole.scores
    assert resumed.curve == whole.curve
    for mine, other in zip(resumed.student.state_dict().values(), whole.student.state_dict().values()):
        assert torch.equal(mine, other)


@pytest.fixture
def asked(teacher: ModuleTeacher, tmp_path: Path) -> Bank:
    return Bank.build(tmp_path / "bank", teacher, tiny_task().teacher.splits["link"], batch_size=16)


def changed(folder: Path, name: str, value: Any) -> Recipe:
    made, (*path, last) = recipe(folder), name.split(".")
    target: Any = made
    for part in path:
        target = target[part] if isinstance(target, dict) else getattr(target, part)
    if isinstance(target, dict):
        target[last] = value
    else:
        setattr(target, last, value)
    return made


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", 1, "made with seed=0, this run has seed=1"),
        ("control", "shuffled", "made with control='none', this run has control='shuffled'"),
        ("data.name", "folders", "data.name='av_digits', this run has data.name='folders'"),
        ("data.config.seed", 3, "made with no data.config.seed, this run has data.config.seed=3"),
        (
            "student.config.dropout",
            0.3,
            "student.config.dropout=0.2, this run has student.config.dropout=0.3",
        ),
        ("student.freeze", ["layers:1"], "student.freeze"),
        ("teacher.seed", 2, "teacher.seed=0, this run has teacher.seed=2"),
        ("method.config", {"temperature": 2.0}, "temperature=4.0, this run has temperature=2.0"),
        ("training.learning_rate", 1e-3, "training.learning_rate"),
        ("training.ema_decay", 0.5, "training.ema_decay=0.99, this run has training.ema_decay=0.5"),
    ],
)
def test_another_recipe_is_refused_before_anything_is_made(
    name: str, value: Any, words: str, asked: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe(tmp_path / "run"), task=tiny_task(), bank=asked)
    saved = (tmp_path / "run" / "recipe.yaml").read_bytes()

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr("limbeck.fit.encoded_task", never)
    with pytest.raises(CheckpointError, match=words):
        run(changed(tmp_path / "run", name, value), task=tiny_task(), bank=asked, resume=True)
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == saved


def test_other_rows_are_refused_and_the_recipe_is_kept(asked: Bank, tmp_path: Path) -> None:
    run(recipe(tmp_path / "run"), task=tiny_task(), bank=asked)
    saved = (tmp_path / "run" / "recipe.yaml").read_bytes()
    task = tiny_task()
    splits = task.splits.map(
        lambda rows: replace(rows, inputs={name: value + 1.0 for name, value in rows.inputs.items()})
    )
    other = replace(recipe(tmp_path / "run"), training={**recipe(tmp_path).training, "logging_steps": 3})
    with pytest.raises(
        CheckpointError,
        match="differs from this run in the content of the training rows, the content of the validation",
    ):
        run(other, task=replace(task, splits=splits), bank=asked, resume=True)
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == saved


def test_what_changes_nothing_may_differ(asked: Bank, tmp_path: Path) -> None:
    whole = run(recipe(tmp_path / "run"), task=tiny_task(), bank=asked)
    told = {"logging_steps": 3, "save_steps": 8, "eval_steps": 6, "dataloader_num_workers": 0}
    other = replace(recipe(tmp_path / "run"), training={**recipe(tmp_path).training, **told})
    resumed = run(other, task=tiny_task(), bank=asked, resume=True)
    assert resumed.scores == whole.scores


def test_a_recipe_with_a_live_teacher(teacher: ModuleTeacher, tmp_path: Path) -> None:
    link = tiny_task().teacher.splits["link"]
    bank = Bank.build(tmp_path / "bank", teacher, link, batch_size=16)
    runs = [
        run(recipe(tmp_path / name), task=tiny_task(), bank=answers)
        for name, answers in (("bank", bank), ("live", LiveTeacher(teacher, link)))
    ]
    for mine, other in zip(*(r.student.state_dict().values() for r in runs)):
        assert torch.allclose(mine, other, atol=1e-4)
