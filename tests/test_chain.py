"""Chains: stages in order, kept, gone on with after a kill, and named when they were edited."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import tiny_task
from safetensors.torch import load_file, save_file
from steps import shapes

import limbeck
from limbeck import cli
from limbeck.banks import Bank
from limbeck.chain import plan_chain, run_chain
from limbeck.distill import distill
from limbeck.errors import ConfigError
from limbeck.evaluation import read_metrics
from limbeck.methods.alignment.armada import ARMADA
from limbeck.methods.alignment.armada_settings import ARMADAConfig
from limbeck.methods.parts import start_parts
from limbeck.recipes import Recipe, make_chain
from limbeck.runner import run
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


@pytest.mark.full
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


@pytest.mark.full
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
@pytest.mark.full
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


def test_finished_stages_are_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a stage was run")

    monkeypatch.setattr("limbeck.chain.distill", never)
    said: list[str] = []
    result = run_chain(chain(finished), tell=said.append)
    assert result.ran == ()
    assert (
        result.scores
        == json.loads((finished / "chain.json").read_text())["stages"]["student"]["facts"]["scores"]
    )
    assert said[0] == "stage 1 of 3, teacher: finished before"


@pytest.mark.full
@pytest.mark.parametrize(
    ("stage", "patch", "words"),
    [
        ("teacher", {"training.learning_rate": 0.5}, r"training.learning_rate=0.01 and now has .*=0.5"),
        (
            "hints",
            {"method.name": "feature_ot"},
            "method.name='fitnets' and now has method.name='feature_ot'",
        ),
        ("student", {"training.max_steps": 21}, "training.max_steps=20 and now has training.max_steps=21"),
    ],
)
def test_an_edited_finished_stage_is_named(stage: str, patch: Any, words: str, finished: Path) -> None:
    before = (finished / "chain.json").read_bytes()
    edited = chain(finished)
    edited["stages"][stage].update(patch)
    with pytest.raises(
        ConfigError, match=f"Stage '{stage}' is finished, .*{words}.*delete {finished / stage}"
    ):
        run_chain(edited)
    assert (finished / "chain.json").read_bytes() == before
    with pytest.raises(ConfigError, match="has been edited"):
        plan_chain(make_chain(edited))
    elsewhere = chain(finished)
    elsewhere["base"]["training"] |= {"logging_steps": 3}  # decides nothing
    assert {planned.state for planned in plan_chain(make_chain(elsewhere))} == {"finished"}


def test_from_a_stage_that_ships_other_weights_on_the_chain_is_run_again(finished: Path) -> None:
    edited = chain(finished)
    edited["stages"]["hints"]["training.learning_rate"] = 0.02
    shutil.rmtree(finished / "hints")
    old = {name: value.clone() for name, value in weights(finished / "student").items()}
    said: list[str] = []
    assert run_chain(edited, tell=said.append).ran == ("hints", "student")
    assert "training again, as its recipe or a stage that it uses has changed" in said[2]
    assert not torch.equal(old["0.weight"], weights(finished / "student")["0.weight"])


def test_a_stage_that_was_deleted_comes_back_the_same(finished: Path, whole: Path) -> None:
    shutil.rmtree(finished / "hints")
    assert run_chain(chain(finished)).ran == ("hints",)  # and what it ships is what the student started from
    assert same(finished / "hints", whole / "hints")


@pytest.mark.full
def test_a_started_stage_that_was_edited_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_log = RunLog.on_log

    def dies(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        on_log(self, args, state, control, **kwargs)
        if state.global_step >= 16:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunLog, "on_log", dies)
        with pytest.raises(Killed):
            run_chain(chain(tmp_path / "cut"))
    edited = chain(tmp_path / "cut")
    edited["stages"]["teacher"]["training"]["learning_rate"] = 0.02
    edited["stages"] = {"teacher": edited["stages"]["teacher"]}
    assert [planned.state for planned in plan_chain(make_chain(edited))] == ["again"]
    run_chain(edited)
    run_chain({**edited, "output_dir": str(tmp_path / "whole")})
    assert same(tmp_path / "cut" / "teacher", tmp_path / "whole" / "teacher")


def test_what_is_not_the_chains_is_left_alone(finished: Path, tmp_path: Path) -> None:
    (finished / "hints" / "student" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigError, match="is not what the stage 'hints' wrote; delete"):
        run_chain(chain(finished))
    (tmp_path / "new" / "teacher").mkdir(parents=True)
    (tmp_path / "new" / "teacher" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes|holds what chain.json does not list"):
        run_chain(chain(tmp_path / "new"))
    assert (tmp_path / "new" / "teacher" / "notes.txt").exists()


def test_the_report_lists_the_stages(whole: Path) -> None:
    info = read_metrics(whole).info
    assert info["title"].startswith("teacher → hints → student: kd on blobs")
    assert [(s["stage"], s["uses"]) for s in info["stages"]] == [
        ("teacher", {}),
        ("hints", {"teacher": "teacher"}),
        ("student", {"hints": "bank"}),
    ]
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert ">Stages</h2>" in page
    assert "Learning curves" in page
    assert '<th scope="row">hints</th><td>fitnets</td>' in page


@pytest.mark.full
def test_generations_and_a_stage_that_trains_its_own_teacher(tmp_path: Path) -> None:
    student = {"model": "table_encoder", "config": {"n_columns": 6}}
    taught = {"student": student, "teacher": {**TEACHER, "training": TEACHER_TRAINING}, "method.name": "kd"}
    again = {"student": student, "teacher": {"model": "stage:first", "view": "same"}, "method.name": "kd"}
    run_chain(
        {
            "base": {"training": TRAINING},
            "stages": {
                "first": taught,
                "born_again": again,
                "third": {**again, "teacher": {"live": "stage:born_again", "view": "same"}},
            },
            "output_dir": str(tmp_path),
        }
    )
    stages = [facts["stage"] for facts in read_metrics(tmp_path).info["stages"]]
    assert stages == ["first/teacher", "first", "born_again", "third"]
    keys = set(Bank.open(tmp_path / "born_again" / "bank").keys)
    assert keys == set(tiny_task().splits["train"].keys)
    assert not (tmp_path / "third" / "bank").exists()


def test_killed_between_training_and_its_record(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*args: Any) -> str:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("limbeck.chain.stage_digest", dies)
        with pytest.raises(Killed):
            run_chain(chain(tmp_path / "cut"))
    one = chain(tmp_path / "cut")
    one["stages"] = {"teacher": one["stages"]["teacher"]}
    assert [planned.state for planned in plan_chain(make_chain(one))] == ["goes on"]
    run_chain(one)
    assert same(tmp_path / "cut" / "teacher", whole / "teacher")


@pytest.mark.full
def test_the_chain_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    import yaml
    from raw_files import write_grating, write_tone

    from limbeck.data import make_task
    from limbeck.predict import predict_files

    monkeypatch.setattr("limbeck.fit.make_task", make_task)
    monkeypatch.chdir(tmp_path)
    for c, name in enumerate(("cat", "dog")):
        for i in range(20):
            write_tone(Path("recordings", name, f"{i}.wav"), 2 * c, seconds=0.2, seed=i)
            write_grating(Path("photos", name, f"{i}.png"), c, seed=i)
            write_grating(Path("photos", name, f"alone{i}.png"), c, seed=100 + i)
    guide = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "stages:" in b)
    values = yaml.safe_load(block)
    values["base"]["training"]["max_steps"] = 3
    result = run_chain(values)
    assert result.ran == ("teacher", "large", "small")
    (row,) = predict_files(result.student, [Path("recordings/cat/0.wav")])
    (seen,) = predict_files(result.folder / "teacher" / "student", [Path("photos/cat/0.png")])
    assert set(row["probabilities"]) == set(seen["probabilities"]) == {"cat", "dog"}


# ---- the command line ------------------------------------------------------------------------------------------


def aligned(folder: Path, pretrain: str = "labels") -> dict[str, Any]:
    """An aligner that learns alone, and a student that goes on with it."""
    stages = {key: chain(folder)["stages"][key] for key in ("teacher",)}
    armada = {"name": "armada", "config": {"width": 8}}
    return {
        **chain(folder),
        "stages": stages
        | {
            "aligner": {
                "method": {**armada, "config": {"width": 8, "pretrain": pretrain}},
                "training.ema": False,
            },
            "student": {"teacher.bank": "stage:aligner", "method": {**armada, "init": "stage:aligner"}},
        },
    }


@pytest.mark.full
def test_a_stage_that_starts_from_the_aligner_of_another(tmp_path: Path) -> None:
    """Its parts are those that the stage left, the student is not; another aligner makes the student anew."""
    found = run_chain(aligned(tmp_path))
    assert found.ran == ("teacher", "aligner", "student")
    assert make_chain(aligned(tmp_path)).uses("student")[:2] == [("aligner", "method"), ("aligner", "bank")]
    parts = load_file(tmp_path / "aligner" / "method.safetensors")
    assert any(name.startswith("aligner.teacher_projection") for name in parts)
    recipe = make_chain(aligned(tmp_path)).recipe("student")
    assert recipe.method.init == str(tmp_path / "aligner")
    still = replace(recipe, output_dir=str(tmp_path / "still"), training={**TRAINING, "learning_rate": 0.0})
    kept = run(still, show_progress=False).method.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in parts.items())
    shutil.rmtree(tmp_path / "aligner")
    assert run_chain(aligned(tmp_path, "reconstruction")).ran == ("aligner", "student")
    assert run_chain(aligned(tmp_path, "reconstruction")).ran == ()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (None, "there is no method.safetensors in it; name the folder of a run"),
        ({"aligner.head.bias": torch.zeros(9)}, r"'aligner.head.bias' is \[9\] in them and \[3\] here"),
        ({}, "'aligner.head.bias' is absent in them"),
    ],
)
def test_parts_that_are_not_the_methods(parts: Any, words: str, tmp_path: Path) -> None:
    method = ARMADA(ARMADAConfig(width=8), shapes(6, 5, 3))
    if parts is not None:
        state = method.state_dict()
        del state["aligner.head.bias"]
        save_file({**state, **parts}, str(tmp_path / "method.safetensors"))
    with pytest.raises(ConfigError, match=words):
        start_parts(method, tmp_path)


def test_the_command(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**chain(finished), "output_dir": "elsewhere"}, sort_keys=False))
    command = ["chain", "--config", str(path), "--output_dir"]
    assert cli.main([*command, str(tmp_path / "new"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["teacher", "new", "supervised", "on"]
    assert lines[2].endswith("uses weights of hints, bank of hints")
    assert not (tmp_path / "new").exists()
    assert cli.main([*command, str(finished)]) == 0
    out = capsys.readouterr().out
    assert f"student: {finished / 'student' / 'student'}" in out
    assert "20 steps (finished before)" in out
    assert cli.main([*command, str(finished), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["stages"]) == {"teacher", "hints", "student"}
    assert cli.main(["chain", "--config", "fitnet"]) == 2
    assert "did you mean 'fitnets'?" in capsys.readouterr().err
    assert cli.main(["recipes"]) == 0
    assert "limbeck chain --config fitnets\n    FitNets as its paper trains it" in capsys.readouterr().out


def on_tiny_data(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A shipped chain on a few digits, two steps a stage."""
    import yaml
    from raw_files import fsdd_folder, mnist_folder

    from limbeck.data import make_task
    from limbeck.recipes.chain_spec import shipped_chains

    monkeypatch.setattr("limbeck.fit.make_task", make_task)
    values = yaml.safe_load(shipped_chains()[name].read_text())
    values["base"]["data"]["config"] |= {
        "images": f"mnist:{mnist_folder(folder / 'mnist')}",
        "audio": f"fsdd:{fsdd_folder(folder / 'fsdd')}",
        "labels_per_class": 2,
    }
    values["base"]["training"]["max_steps"] = values["stages"]["teacher"]["training"]["max_steps"] = 2
    return {**values, "output_dir": str(folder / "run")}


@pytest.mark.full
def test_the_shipped_fitnets_chain_on_tiny_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage by stage: what lies above the guided layer waits, and the student starts from what the hints made."""
    result = run_chain(on_tiny_data("fitnets", tmp_path, monkeypatch))
    assert result.ran == ("teacher", "hints", "student")
    from limbeck.banks import Bank

    bank = Bank.open(tmp_path / "run" / "hints" / "bank")
    assert {"features", "logits", "hidden.8"} <= set(bank.manifest.signals) or "8" in str(
        bank.manifest.signals
    )
    assert not (tmp_path / "run" / "student" / "bank").exists()


@pytest.mark.full
def test_the_shipped_ted_chain_on_tiny_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters learn while both networks are held; the last stage starts from them and from the held student."""
    from limbeck.methods.parts import parts_in

    result = run_chain(on_tiny_data("ted", tmp_path, monkeypatch))
    assert result.ran == ("teacher", "start", "filters", "student")
    learned, kept = (parts_in(tmp_path / "run" / stage) for stage in ("filters", "student"))
    assert (learned["theirs.1.weight"] == kept["theirs.1.weight"]).all()
    assert "heads_t.1.0.weight" in learned
    assert "heads_t.1.0.weight" not in kept


@pytest.mark.full
def test_the_shipped_ckd_chain_on_tiny_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuned student starts from the one that learned without labels."""
    result = run_chain(on_tiny_data("ckd", tmp_path, monkeypatch))
    assert result.ran == ("teacher", "distilled", "tuned")
    first, last = (Recipe.load(tmp_path / "run" / stage / "recipe.yaml") for stage in result.ran[1:])
    assert (first.method.name, last.method.name) == ("ckd", "supervised")
    assert Path(str(last.student.init)) == tmp_path / "run" / "distilled" / "student"
