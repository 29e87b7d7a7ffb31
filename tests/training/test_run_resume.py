"""``run(recipe, resume=True)`` goes on with an interrupted run and ends with the numbers of a whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from digits import tiny_task

from limbeck.banks.bank import Bank
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


def test_a_recipe_with_a_live_teacher(teacher: ModuleTeacher, tmp_path: Path) -> None:
    link = tiny_task().teacher.splits["link"]
    bank = Bank.build(tmp_path / "bank", teacher, link, batch_size=16)
    runs = [
        run(recipe(tmp_path / name), task=tiny_task(), bank=answers)
        for name, answers in (("bank", bank), ("live", LiveTeacher(teacher, link)))
    ]
    for mine, other in zip(*(r.student.state_dict().values() for r in runs)):
        assert torch.allclose(mine, other, atol=1e-4)
