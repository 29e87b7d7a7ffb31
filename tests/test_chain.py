"""Chains: stages in order, kept, gone on with after a kill, and named when they were edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import tiny_task
from safetensors.torch import load_file

import limbeck
from limbeck.chain import plan_chain, run_chain
from limbeck.distill import distill
from limbeck.evaluation import read_metrics
from limbeck.recipes import Recipe, make_chain
from limbeck.students.export.folder import load_exported
from limbeck.training.callbacks import RunLog

TRAINING = {"max_steps": 20, "n_labelled": 6, "n_unlabelled": 9, "learning_rate": 1e-2}
TEACHER = {"model": "table_encoder", "config": {"n_columns": 4, "hidden": [16]}}
TEACHER_TRAINING = {"max_steps": 30, "n_labelled": 30, "learning_rate": 1e-2}


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limbeck.fit.make_task", lambda name, config, seed: tiny_task("paired"))


def chain(folder: Path) -> dict[str, Any]:
    """A teacher; a student of its states; and that student taught by its answers."""
    return {
        "base": {
            "student": {"model": "table_encoder", "config": {"n_columns": 6, "dropout": 0.2}},
            "teacher": {"model": "stage:teacher"},
            "training": {**TRAINING, "ema": True},
        },
        "stages": {
            "teacher": {
                "data.side": "teacher",
                "student": TEACHER,
                "teacher": None,
                "method.name": "supervised",
                "training": {**TEACHER_TRAINING, "ema": False},
            },
            "hints": {"method": {"name": "fitnets"}},
            "student": {
                "student.model": "stage:hints",
                "teacher": {"model": "small_conv_net", "bank": "stage:hints"},
                "method": {"name": "kd", "config": {"temperature": 2.0}},
            },
        },
        "output_dir": str(folder),
    }


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "chain"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("limbeck.fit.make_task", lambda name, config, seed: tiny_task("paired"))
        run_chain(chain(folder))
    return folder


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "chain"))


def test_what_a_chain_leaves(whole: Path) -> None:
    found = json.loads((whole / "chain.json").read_text())["stages"]
    assert list(found) == ["teacher", "hints", "student"]
    for name, entry in found.items():
        assert entry["state"] == "finished"
        assert len(entry["fingerprint"]) == 32
        assert set(entry["facts"]["scores"]) == {"validation", "test"}
        assert not (whole / name / "checkpoints").exists()
        assert load_exported(whole / name / "student").class_names == ("circle", "square", "star")
    assert found["teacher"]["facts"]["scores"]["test"] > 0.8
    assert list(found["hints"]["inputs"]) == ["teacher"]
    assert list(found["student"]["inputs"]) == ["hints"]
    provenance = load_exported(whole / "student" / "student").info["provenance"]
    assert [(s["stage"], s["method"]) for s in provenance["stages"]] == [
        ("teacher", "supervised"),
        ("hints", "fitnets"),
    ]
    assert '"stage": "hints"' in (whole / "student" / "student" / "README.md").read_text()


def test_a_teacher_trained_as_a_stage_is_the_teacher_of_a_recipe(tmp_path: Path) -> None:
    """``train: true`` is the chain of two stages, to the bit."""
    student = {"model": "table_encoder", "config": {"n_columns": 6}}
    distill(
        Recipe.from_dict(
            {
                "student": student,
                "teacher": {**TEACHER, "training": TEACHER_TRAINING},
                "method": {"name": "kd"},
                "training": TRAINING,
                "output_dir": str(tmp_path / "recipe"),
            }
        )
    )
    expected = limbeck.teacher_stage.TEACHER_TRAINING | TEACHER_TRAINING
    teacher = {"data.side": "teacher", "student": TEACHER, "training": expected}
    taught = {"student": student, "teacher.model": "stage:teacher", "method.name": "kd", "training": TRAINING}
    run_chain({"stages": {"teacher": teacher, "student": taught}, "output_dir": str(tmp_path / "chain")})
    assert same(tmp_path / "recipe", tmp_path / "chain" / "student")
    stages = read_metrics(tmp_path / "recipe").info["stages"]
    assert [facts["stage"] for facts in stages] == ["teacher", "student"]
    assert stages[0]["scores"]["test"] > 0.8


@pytest.mark.parametrize("stage", ["teacher", "hints", "student"])
def test_a_killed_chain_goes_on_to_the_same_weights(
    stage: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_log, first_steps = RunLog.on_log, []

    def dies(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        on_log(self, args, state, control, **kwargs)
        if Path(args.output_dir).parent.name == stage and state.global_step >= 16:
            raise Killed

    def watched(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        on_log(self, args, state, control, **kwargs)
        first_steps.append((Path(args.output_dir).parent.name, state.global_step))

    with monkeypatch.context() as patched:
        patched.setattr(RunLog, "on_log", dies)
        with pytest.raises(Killed):
            run_chain(chain(tmp_path / "cut"))
    plan = {planned.name: planned.state for planned in plan_chain(make_chain(chain(tmp_path / "cut")))}
    assert plan[stage] == "goes on"
    monkeypatch.setattr(RunLog, "on_log", watched)
    result = run_chain(chain(tmp_path / "cut"))
    assert result.ran == ("teacher", "hints", "student")[["teacher", "hints", "student"].index(stage) :]
    assert min(step for name, step in first_steps if name == stage) > 10, "it started from its first step"
    for name in ("teacher", "hints", "student"):
        assert same(tmp_path / "cut" / name, whole / name)
