"""The recipe of UCMKD's paper on RAVDESS, on made-up clips and small networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data.audio_visual.clips_on_disk import ravdess

from limbeck.cli import main
from limbeck.methods.registry import plan_method
from limbeck.recipes import parse_recipe

SMALL = [
    "--data.config.size", "[16, 16]", "--data.config.log_mel", "{n_frames: 16, n_bands: 16}",
    "--student.model", "small_conv_net", "--teacher.model", "small_conv_net", "--teacher.training.max_steps", "20",
    "--training.max_steps", "20", "--training.n_labelled", "16",
]  # fmt: skip


def test_it_holds_the_papers_values() -> None:
    recipe = parse_recipe(["--config", "ucmkd_ravdess"])
    plan = plan_method(recipe.method.name, recipe.method.config)
    assert (recipe.teacher.model, recipe.student.model) == ("resnet18", "resnet18")
    for training in (recipe.training, recipe.teacher.training):
        assert [training[name] for name in ("optim", "learning_rate", "n_labelled")] == ["sgd", 0.01, 64]
    assert (plan.config.transport.cost, plan.config.reg, plan.config.smoothing) == ("euclidean", 0.1, 0.0)
    assert [(d.optimizer, d.learning_rate, d.steps, d.moves) for d in plan.declared.descents] == [
        ("sgd", "outer", 1, "student"),
        ("sgd", "outer", 1, "student"),
    ]
    # 100 epochs of the 16 actors of training, 60 sentences each
    assert recipe.training["max_steps"] == 100 * 16 * 60 // 64


@pytest.mark.full
def test_twenty_steps_on_two_clips_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ravdess(tmp_path / "data" / "ravdess")
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path / "data"))
    out = tmp_path / "run"
    assert main(["distill", "--config", "ucmkd_ravdess", *SMALL, "--output_dir", str(out)]) == 0
    assert "student:" in capsys.readouterr().out
    terms = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    logged = next(entry for entry in terms if "term/feature" in entry)
    assert 0 < logged["term/feature"] < 1e4
    assert "term/label" in logged
    assert (out / "student" / "student.json").is_file()
