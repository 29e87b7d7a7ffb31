"""``limbeck diagnose``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
import yaml
from raw_files import fsdd_folder, mnist_folder

from limbeck import cli
from limbeck.banks import Bank


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips that are tones of their digit, paired with images that a perfect teacher names."""
    folder = tmp_path_factory.mktemp("diagnose")
    mnist, fsdd = mnist_folder(folder / "mnist"), fsdd_folder(folder / "fsdd")
    names = tuple("0123456789")
    logits = 9 * torch.eye(10)[torch.arange(800) % 10]
    bank = Bank.from_arrays(
        folder / "bank", keys=[f"image/{i}" for i in range(800)], logits=logits, class_names=names
    )
    values = {
        "data": {
            "name": "av_digits",
            "config": {"images": f"mnist:{mnist}", "audio": f"fsdd:{fsdd}", "labels_per_class": 2},
        },
        "teacher": {"bank": str(bank.path)},
        "method": {"name": "kd"},
        "training": {"max_steps": 4, "use_cpu": True},
        "output_dir": str(folder / "run"),
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_table_a_picture_and_a_file(recipe: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["diagnose", "--config", str(recipe), "--output", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    read = json.loads((tmp_path / "diagnosis.json").read_text())
    assert read["sentence"].split(".")[0] in out
    assert "20 labelled, 140 reached without a label" in out
    assert "few judges" not in out
    assert read["room"]["n_new"] == 140
    assert read["alone_from"] == "a training without a teacher"
    drawing = ET.parse(tmp_path / "diagnosis.svg").getroot()
    assert drawing.attrib["aria-label"] == read["sentence"]


def test_json_and_an_accuracy_that_is_known(recipe: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--output", str(tmp_path), "--alone", "0.95", "--json", "--seed", "1"]
    assert cli.main(["diagnose", "--config", str(recipe), *arguments]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "diagnosis.json").read_text())
    assert printed["room"]["alone"] == 0.95
    assert printed["alone_from"] == "as given"
    assert "no_headroom" in [reason["name"] for reason in printed["reasons"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--alone", "58"], "must lie between 0 and 1; it is 58"),
        (["--alone", "much"], "invalid number value: 'much'"),
        (["--method.name", "supervised"], "Method 'supervised' has no teacher"),
        (["--teacher", "nobody"], "no teacher 'nobody'; valid ones: teacher"),
        (["--method.name", "bagkd"], "works with data linked as bagged"),
        (["--data.config.link", "pared"], "did you mean 'paired'"),
        (["--alne", "0.5"], "no key 'alne'"),
    ],
)
def test_wrong_use_is_one_sentence(recipe: Path, arguments: list[str], words: str, capsys) -> None:
    assert cli.main(["diagnose", "--config", str(recipe), *arguments]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
