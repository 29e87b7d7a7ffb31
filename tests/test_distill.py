"""From a recipe on a user's own folders to a run folder whose student reads raw files."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from raw_files import write_csv, write_grating, write_tone

from limbeck import cli
from limbeck.distill import distill
from limbeck.errors import ConfigError, DataError
from limbeck.evaluation import read_metrics
from limbeck.files import LOCK_FILE
from limbeck.predict import predict_files
from limbeck.recipes import Recipe
from limbeck.students import Student
from limbeck.training.trainer import DistillationTrainer

NAMES = ("cat", "dog", "owl")
COMPUTE_LOSS = DistillationTrainer.compute_loss
TRAINING = {"max_steps": 20, "learning_rate": 5e-3, "n_unlabelled": 24}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Sounds and photos of three animals: in class folders, and in CSVs with sessions; and a table."""
    root = tmp_path_factory.mktemp("own")
    for c, name in enumerate(NAMES):
        for i in range(24):
            write_tone(root / "sounds" / name / f"{i}.wav", 2 * c, seconds=0.2, seed=i)
            write_grating(root / "photos" / name / f"{i}.png", c, seed=i)
            write_grating(root / "photos" / name / f"alone{i}.png", c, seed=100 + i)
    rows = [(name, i, f"day{(3 * i + c) // 9}") for c, name in enumerate(NAMES) for i in range(24)]
    sounds = [(f"sounds/{name}/{i}.wav", name if i % 2 else "", day) for name, i, day in rows]
    photos = [(f"photos/{name}/{i}.png", name, day) for name, i, day in rows]
    photos += [(f"photos/{name}/alone{i}.png", name, "") for name, i, _ in rows]
    write_csv(root / "sounds.csv", ("file", "label", "day"), sounds)
    write_csv(root / "photos.csv", ("file", "label", "day"), photos)
    table = [(f"{name}{i}", name, c + i / 50, i / 50 - c) for c, name in enumerate(NAMES) for i in range(24)]
    write_csv(root / "table.csv", ("key", "label", "height", "weight"), table)
    return root


def recipe(own, output, data, **changes) -> Recipe:
    values = {
        "data": {"name": "folders", "config": {"teacher_options": {"size": [16, 16]}, **data}},
        "teacher": {"training": {"max_steps": 30, "n_labelled": 24}},
        "training": TRAINING,
        "output_dir": str(output),
    }
    return Recipe.from_dict(values | changes)


def by_class(own) -> dict:
    return {"student": str(own / "sounds"), "teacher": str(own / "photos"), "labels_per_class": 3}


def test_the_run_folder_holds_what_a_user_keeps(own, tmp_path):
    result = distill(recipe(own, tmp_path / "run", by_class(own), method={"name": "feature_ot"}))
    found = {path.name for path in (tmp_path / "run").iterdir()} - {LOCK_FILE}
    kept = {"recipe.yaml", "metrics.json", "log.jsonl", "report.html", "student"}
    assert found == kept | {"teacher", "bank", "chain.json"}
    assert result.scores["test"] > 0.8
    rows = read_metrics(tmp_path / "run").rows
    assert {(r.arm, r.method, r.link, r.control, r.split) for r in rows} == {
        ("feature_ot", "feature_ot", "by_class", "none", split) for split in ("validation", "test")
    }
    again = distill(Recipe.load(tmp_path / "run" / "recipe.yaml", ["--output_dir", str(tmp_path / "again")]))
    assert again.scores == result.scores
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("run", "again")]
    losses = [[json.loads(line).get("loss") for line in lines] for lines in logs]
    assert losses[0] == losses[1]


def test_pairs_by_key_and_the_student_reads_raw_files(own, tmp_path, capsys):
    distill(recipe(own, tmp_path, {**by_class(own), "link": "paired"}, method={"name": "kd"}))
    sound = own / "sounds" / "owl" / "23.wav"
    (row,) = predict_files(tmp_path / "student", [sound])
    assert row["file"] == str(sound)
    assert max(row["probabilities"], key=row["probabilities"].get) == "owl"
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "student"), str(sound), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [row]
    (tmp_path / "report.html").unlink()
    assert cli.main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.full
def test_bags_by_a_column_through_the_command_line(own, tmp_path, capsys):
    group = {"group": "day"}
    data = {"student": str(own / "sounds.csv"), "teacher": str(own / "photos.csv"), "link": "bagged"}
    data |= {"student_options": group, "teacher_options": group}
    made = recipe(own, tmp_path / "run", data, method={"name": "bagkd"})
    made.save(tmp_path / "recipe.yaml")
    assert cli.main(["distill", "--config", str(tmp_path / "recipe.yaml"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["scores"]) == {"validation", "test"}
    assert {row.link for row in read_metrics(printed["folder"]).rows} == {"bagged"}


@pytest.mark.full
def test_an_image_file_is_read_as_in_training(own, tmp_path):
    modalities = {"student_modality": "image", "teacher_modality": "audio"}
    options = {"student_options": {"size": [16, 16]}, "teacher_options": {}}
    data = {"student": str(own / "photos"), "teacher": str(own / "sounds"), **modalities, **options}
    result = distill(recipe(own, tmp_path, data))
    key = result.task.splits["train"].keys[0]
    (row,) = predict_files(tmp_path / "student", [own / "photos" / f"{key}.png"])
    assert_same(row, result, key)


@pytest.mark.full
def test_a_csv_is_read_as_in_training(own, tmp_path):
    data = {"student": str(own / "table.csv"), "teacher": str(own / "photos"), "student_modality": "table"}
    student = {"model": "table_encoder", "config": {"n_columns": 2}}
    result = distill(recipe(own, tmp_path, data, student=student))
    rows = predict_files(tmp_path / "student", [own / "table.csv"])
    assert [row["line"] for row in rows] == list(range(2, 74))
    key = result.task.splits["train"].keys[-1]
    assert_same(rows[NAMES.index(key[:3]) * 24 + int(key[3:])], result, key)
    write_csv(tmp_path / "other.csv", ("height",), [(1,)])
    with pytest.raises(DataError, match="no column 'weight'"):
        predict_files(tmp_path / "student", [tmp_path / "other.csv"])


def assert_same(row, result, key) -> None:
    """A prediction from a raw file is that of the trained student on the training row."""
    train = result.task.splits["train"]
    with torch.no_grad():
        logits = result.student(train.rows([train.keys.index(key)])).logits
    assert list(row["probabilities"].values()) == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-5)


def test_print_recipe_is_the_recipe_and_runs_nothing(capsys):
    assert cli.main(["distill", "--config", "av_digits_paired", "--seed", "4", "--print-recipe"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 4
    assert printed["method"] == {"name": "kd", "config": {"temperature": 1.0}, "init": None}


@pytest.mark.full
def test_results_of_another_recipe_are_kept(own, tmp_path):
    first = distill(recipe(own, tmp_path, by_class(own)))
    kept = (tmp_path / "metrics.json").read_bytes()
    other = recipe(own, tmp_path, by_class(own), seed=1)
    with pytest.raises(ConfigError, match="seed=0 and now has seed=1; name another output_dir"):
        distill(other)
    assert (tmp_path / "metrics.json").read_bytes() == kept
    assert distill(recipe(own, tmp_path, by_class(own))).scores == first.scores
    distill(other, overwrite=True)
    assert Recipe.load(tmp_path / "recipe.yaml").seed == 1


@pytest.mark.full
def test_an_interrupted_run_goes_on_without_having_been_told_to_save(own, tmp_path, monkeypatch):
    whole = distill(recipe(own, tmp_path / "whole", by_class(own)))
    with monkeypatch.context() as patched:
        patched.setattr("limbeck.training.trainer.DistillationTrainer.compute_loss", interrupted_at(13))
        with pytest.raises(KeyboardInterrupt):
            distill(recipe(own, tmp_path / "cut", by_class(own)))
    names = {path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()}
    assert names == {"checkpoint-10", "checkpoint-12"}
    with pytest.raises(ConfigError, match="--resume"):
        distill(recipe(own, tmp_path / "cut", by_class(own)))
    again = distill(recipe(own, tmp_path / "cut", by_class(own)), resume=True)
    for one, other in zip(whole.student.state_dict().values(), again.student.state_dict().values()):
        assert torch.equal(one, other)
    assert not (tmp_path / "cut" / "checkpoints").exists()
    assert "save_strategy" not in Recipe.load(tmp_path / "cut" / "recipe.yaml").training


def interrupted_at(step):
    def compute_loss(self, *args, **kwargs):
        if self.state.global_step == step and self.model.training:
            raise KeyboardInterrupt
        return COMPUTE_LOSS(self, *args, **kwargs)

    return compute_loss


@pytest.mark.full
def test_a_student_of_ones_own_by_the_command_line(own, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_student.py").write_text(
        "from torch import nn\n\ndef make(n_classes, width=4):\n    return nn.Sequential(\n"
        "        nn.Conv2d(1, width, 3), nn.ReLU(),\n"
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes)\n"
        "    )\n"
    )
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    values = {
        "data": {"name": "folders", "config": by_class(own)},
        "student": {"model": "own_student:make", "config": {"width": 6}},
        "training": {"max_steps": 2},
        "output_dir": "run",
    }
    path.write_text(yaml.safe_dump(values))
    assert cli.main(["distill", "--config", str(path)]) == 2
    assert "pass --trust-code" in capsys.readouterr().err
    path.write_text(yaml.safe_dump({**values, "trust_code": True}))
    assert cli.main(["distill", "--config", str(path)]) == 2
    assert "trust_code" in capsys.readouterr().err
    path.write_text(yaml.safe_dump(values))
    assert cli.main(["distill", "--config", str(path), "--trust-code"]) == 0
    assert cli.main(["predict", "run/student", str(own / "sounds" / "cat" / "0.wav")]) == 0


@pytest.mark.full
def test_bfloat16_steps_ship_a_float32_student(own, tmp_path, monkeypatch):
    """Autocast on a CPU: the steps compute in bfloat16, what is shipped does not and answers as it is."""
    seen = set()

    def watched(self, model, inputs, *args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(Student, "forward", noting)
            return COMPUTE_LOSS(self, model, inputs, *args, **kwargs)

    plain = Student.forward

    def noting(self, *args, **kwargs):
        out = plain(self, *args, **kwargs)
        if self.training:
            seen.add((out.logits.dtype, torch.is_autocast_enabled("cpu")))
        return out

    monkeypatch.setattr(DistillationTrainer, "compute_loss", watched)
    data = {"student": str(own / "table.csv"), "teacher": str(own / "photos"), "student_modality": "table"}
    student = {"model": "table_encoder", "config": {"n_columns": 2}}
    half = {**TRAINING, "bf16": True, "use_cpu": True}
    result = distill(recipe(own, tmp_path, data, student=student, training=half))
    assert seen == {(torch.bfloat16, True)}
    assert {value.dtype for value in result.student.parameters()} == {torch.float32}
    key = result.task.splits["train"].keys[-1]
    rows = predict_files(tmp_path / "student", [own / "table.csv"])
    assert_same(rows[NAMES.index(key[:3]) * 24 + int(key[3:])], result, key)
