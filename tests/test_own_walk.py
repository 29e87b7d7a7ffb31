"""A stranger's walk by the command line alone: a table and a folder of pictures to a student that answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_files import write_csv

from limbeck.cli import main
from limbeck.errors import ConfigError
from limbeck.recipes.recipe import Recipe

KINDS = ("mug", "plant", "shirt")
RECIPE = """
data:
  name: own
  config:
    student: {source: products.csv, modality: text, input: title, key: sku, label: category}
    teacher: {source: photos, modality: image, key: stem, size: [8, 8], channels: 3}
    link: {kind: partly_paired}
teacher:
  model: small_conv_net
  config: {in_channels: 3, channels: [4, 8]}
  training: {max_steps: 2, n_labelled: 4}
student: {model: "MODEL", pooling: mean, max_length: 16}
method: {name: armada, config: {width: 8}}
training: {max_steps: 2, n_labelled: 4, n_unlabelled: 4}
output_dir: run
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [(f"A{i:03d}", f"the {KINDS[i % 3]} {i}", KINDS[i % 3] if i % 2 else "") for i in range(90)]
    write_csv(tmp_path / "products.csv", ("sku", "title", "category"), rows)
    for i in range(90):
        if i % 5:  # some products have no photo
            folder = tmp_path / "photos" / KINDS[i % 3]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            pixels[..., i % 3] += 150
            Image.fromarray(pixels).save(folder / f"A{i:03d}.jpg")
    return tmp_path


def test_from_a_table_and_pictures_to_answers(shop, word_bert, monkeypatch, capsys, tmp_path_factory):
    (shop / "recipe.yaml").write_text(RECIPE.replace("MODEL", f"hf:{word_bert}"))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)  # paths count from the recipe
    assert main(["distill", "--config", str(shop / "recipe.yaml")]) == 0
    assert (elsewhere / "run" / "report.html").is_file()
    results = json.loads((elsewhere / "run" / "metrics.json").read_text())
    assert {row["link"] for row in results["rows"]} == {"partly_paired"}
    assert "training rows have no row of the teacher" in results["info"]["data"]["notes"][0]
    assert "training rows have no row of the teacher." in capsys.readouterr().out
    assert main(["predict", "run/student", str(shop / "products.csv"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == 90
    assert set(answers[0]["probabilities"]) == set(KINDS)


def test_without_a_recipe_there_is_usage(capsys):
    assert main(["distill"]) == 2
    assert "usage: limbeck distill" in capsys.readouterr().out


def test_a_mistake_is_one_line(shop, word_bert, monkeypatch, capsys):
    monkeypatch.chdir(shop)
    (shop / "recipe.yaml").write_text(
        RECIPE.replace("MODEL", f"hf:{word_bert}").replace("input: title", "input: titel")
    )
    assert main(["distill", "--config", "recipe.yaml"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("has no column 'titel' for student.input; did you mean 'title'?")
    assert "\n" not in said


def test_paths_count_from_the_recipe_then_from_here(shop, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (shop / "recipe.yaml").write_text(RECIPE.replace("  model: small_conv_net\n", "  bank: banks/mine\n", 1))
    monkeypatch.chdir(elsewhere)
    loaded = Recipe.load(shop / "recipe.yaml")
    assert loaded.data.config["student"]["source"] == str(shop / "products.csv")
    assert loaded.data.config["teacher"]["source"] == str(shop / "photos")
    assert loaded.data.config["student"]["label"] == "category"
    assert loaded.teacher.bank == "banks/mine"  # not there
    monkeypatch.chdir(shop)
    (shop / "banks" / "mine").mkdir(parents=True)
    loaded = Recipe.load("recipe.yaml")
    assert loaded.data.config["student"]["source"] == "products.csv"
    assert loaded.teacher.bank == "banks/mine"


@pytest.mark.parametrize(
    ("model", "config", "words"),
    [
        (
            "small_conv_net",
            {},
            "reads pictures or sounds, and the rows have the shape \\[2\\]; take table_encoder",
        ),
        ("table_encoder", {"n_columns": 5}, "n_columns=5, and the rows have 2 columns; leave n_columns out"),
    ],
)
def test_encoders_take_their_sizes_from_the_data(model, config, words, tmp_path):
    from limbeck.data.own.own_data import own_data
    from limbeck.plan import make_student
    from limbeck.recipes.specs import StudentSpec

    rows = [(i, i, i % 2, "ab"[i % 2]) for i in range(30)]
    write_csv(tmp_path / "n.csv", ("id", "x", "y", "label"), rows)
    train = own_data(student={"source": str(tmp_path / "n.csv"), "modality": "table"}).splits["train"]
    assert make_student(StudentSpec("table_encoder"), train).probe(train.rows([0, 1])).n_classes == 2
    with pytest.raises(ConfigError, match=words):
        make_student(StudentSpec(model, config), train)
