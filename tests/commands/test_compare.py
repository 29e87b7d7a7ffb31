"""``limbeck compare`` from its command line."""

from __future__ import annotations

import json

import pytest
from raw_files import fsdd_folder, mnist_folder

from limbeck import cli

SMALL = ["--training.max_steps", "2", "--data.config.labels_per_class", "2", "--seeds", "1"]


@pytest.fixture
def data(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.setattr("limbeck.teacher_stage.TEACHER_TRAINING", {"max_steps": 3, "n_labelled": 8})
    images = f"mnist:{mnist_folder(tmp_path / 'mnist')}"
    return ["--data.config.images", images, "--data.config.audio", f"fsdd:{fsdd_folder(tmp_path / 'fsdd')}"]


def test_methods_controls_and_a_varied_key(data, tmp_path, capsys):
    command = [
        "compare",
        "--config",
        "av_digits_paired",
        *data,
        *SMALL,
        "--output",
        str(tmp_path / "out"),
        "--json",
    ]
    command += ["--vary", "method.config.temperature=1,2.5", "--controls", "random,label_smoothing"]
    assert cli.main(command) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [(entry["arm"], entry["control"]) for entry in told["summary"]] == [
        ("supervised", "none"),
        ("supervised", "label_smoothing"),
        ("kd, temperature=1", "none"),
        ("kd, temperature=1", "random"),
        ("kd, temperature=2.5", "none"),
        ("kd, temperature=2.5", "random"),
    ]
    assert told["info"]["command"].startswith("limbeck compare --config av_digits_paired")
    assert told["info"]["arms"]["kd, temperature=2.5"] == {"method.config.temperature": 2.5}
    assert err == ""


def test_arms_of_a_file_by_name(data, tmp_path, capsys):
    command = ["compare", "--config", "av_digits", *data, *SMALL, "--output", str(tmp_path / "out")]
    assert cli.main([*command, "--arms", "digits", "--methods", "bagged", "--controls", ""]) == 0
    out = capsys.readouterr().out
    assert "bagged: " in out
    assert "report: " in out
    assert cli.main([*command, "--arms", "digits", "--methods", "baged"]) == 2
    assert "no arm 'baged'; did you mean 'bagged'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--vary", "method.config.temperature"], "--vary takes KEY=V1,V2"),
        (["--vary", "a=[1"], "cannot be read"),
        (["--seeds", "0"], "must be at least 1"),
        (["--arms", "digts"], "did you mean 'digits'"),
        (["--methodss", "kd"], "methodss"),
        (["--controls", "shufled", "--config", "av_digits_paired"], "did you mean 'shuffled'"),
    ],
)
def test_wrong_use(more, words, tmp_path, capsys):
    assert cli.main(["compare", *more, "--output", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
