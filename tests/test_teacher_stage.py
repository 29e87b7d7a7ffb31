"""A teacher that is trained first: once, from where it was killed, and on its own side of the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import tiny_task
from levels import some_of
from torch import nn

from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.recipes import TeacherSpec
from limbeck.recipes.stages import read_records
from limbeck.taught import task_of_teacher
from limbeck.teacher_stage import teacher_bank, teacher_of, trained_teacher
from limbeck.training.callbacks import RunLog

SAVED = {"save_strategy": "steps", "save_steps": 5}
SPEC = TeacherSpec(
    model="table_encoder",
    config={"n_columns": 4, "hidden": [8], "dropout": 0.2},
    training={"max_steps": 20, "n_labelled": 12, **SAVED},
)


class Killed(BaseException):
    pass


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def count_fits(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The checkpoints that trainings start from, from now on."""
    import limbeck.teacher_stage as module

    real, started = module.fit, []

    def counted(prepared: Any, *args: Any, **kwargs: Any) -> Any:
        started.append(prepared.checkpoint)
        return real(prepared, *args, **kwargs)

    monkeypatch.setattr(module, "fit", counted)
    return started


def test_a_task_of_its_own() -> None:
    task = tiny_task()
    own = task_of_teacher(task, "teacher")
    assert own.splits["train"] is task.teacher.splits["train"]
    assert set(own.splits.roles) == {"train", "validation", "test"}
    assert own.teachers == {}
    side = replace(task.teacher, splits=task.teacher.splits.without("train"))
    with pytest.raises(DataError, match="no labelled rows of its own"):
        task_of_teacher(replace(task, teachers={"teacher": side}), "teacher")


def test_it_is_trained_once_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = count_fits(monkeypatch)
    first, scores = trained_teacher(SPEC, tiny_task(), tmp_path)
    again, same_scores = trained_teacher(SPEC, tiny_task(), tmp_path)
    assert started == [None]
    assert equal(first, again)
    assert scores == same_scores
    record = read_records(tmp_path)["teacher"]
    assert (record.state, record.facts["method"], record.facts["steps"]) == ("finished", "supervised", 20)
    assert record.settings["training.max_steps"] == 20


@pytest.mark.parametrize("what", some_of(["spec", "rows", "weights", "record"], "weights"))
def test_it_is_trained_anew_when_something_changed(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_teacher(SPEC, tiny_task(), tmp_path)
    started, spec, task = count_fits(monkeypatch), SPEC, tiny_task()
    if what == "spec":
        spec = replace(SPEC, training={**SPEC.training, "learning_rate": 0.1})
    elif what == "rows":
        task = moved(task)
    elif what == "weights":
        (tmp_path / "teacher" / "model.safetensors").write_bytes(b"")
    else:
        (tmp_path / "chain.json").write_text("{")
    model, _ = trained_teacher(spec, task, tmp_path)
    assert started == [None]
    fresh, _ = trained_teacher(spec, task, tmp_path / "fresh")
    assert equal(model, fresh)


def moved(task: Task) -> Task:
    """The same task, its teacher's rows moved."""
    splits = task.teacher.splits.map(
        lambda rows: replace(rows, inputs={name: value + 1.0 for name, value in rows.inputs.items()})
    )
    return replace(task, teachers={"teacher": replace(task.teacher, splits=splits)})


def test_killed_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = trained_teacher(SPEC, tiny_task(), tmp_path / "whole")
    on_log = RunLog.on_log

    def dies(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        on_log(self, args, state, control, **kwargs)
        if state.global_step >= 16:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunLog, "on_log", dies)
        with pytest.raises(Killed):
            trained_teacher(SPEC, tiny_task(), tmp_path / "cut")
    assert read_records(tmp_path / "cut")["teacher"].state == "running"
    started = count_fits(monkeypatch)
    resumed, _ = trained_teacher(SPEC, tiny_task(), tmp_path / "cut")
    assert [Path(str(checkpoint)).name for checkpoint in started] == ["checkpoint-15"]
    assert equal(resumed, whole)


def test_the_layers_that_a_method_reads_are_asked_for(tmp_path: Path) -> None:
    bank = teacher_bank(SPEC, tiny_task(), tmp_path, layers=["1"])
    assert "hidden_states" in bank.signals
    assert bank.lookup(bank.keys[:2]).hidden_states["1"].shape == (2, 8)


def test_how_a_live_model_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    class Loaded:
        class_names = None
        access = "weights"

        def __init__(self, path: str, **how: Any) -> None:
            asked.update(how, path=path)

    monkeypatch.setattr("limbeck.teacher_stage.HFTeacher", Loaded)
    how = {"dtype": "bfloat16", "compile": True}
    teacher_of(TeacherSpec(live="hf:PATH", loading=how), tiny_task(), tmp_path)
    assert asked == {"path": "PATH", **how}
    with pytest.raises(UnknownNameError, match="loading has no 'type'"):
        teacher_of(TeacherSpec(live="hf:PATH", loading={"type": "float16"}), tiny_task(), tmp_path)
    with pytest.raises(ConfigError, match="set live: hf:PATH"):
        teacher_of(TeacherSpec(loading=how), tiny_task(), tmp_path)
