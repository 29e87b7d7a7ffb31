"""A text student from a table of texts to an exported folder: classes, numbers and choices; features and texts."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import processors

from limbeck.banks import Bank
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.distill import distill
from limbeck.errors import ConfigError, DataError, MissingSignalError
from limbeck.predict import predict_files
from limbeck.recipes import MethodSpec, Recipe
from limbeck.runner import run
from limbeck.students.export.folder import load_exported

ANIMALS = ("cat", "dog", "bird")
COLOURS = ("red", "blue", "big")


@pytest.fixture
def bert(word_bert: Path) -> Path:
    return word_bert


def write_rows(path: Path, header: tuple[str, ...], rows: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def sentences(path: Path, n: int = 60) -> Path:
    """Rows of a text and its class; two of three training rows have no label."""
    rows = []
    for i in range(n):
        animal = ANIMALS[i % 3]
        split = ("train", "train", "train", "validation", "test")[i % 5]
        label = "" if split == "train" and i % 4 else animal
        rows.append((i, f"the {COLOURS[i // 3 % 3]} {animal} sees a {COLOURS[i // 9 % 3]}", label, split))
    return write_rows(path, ("id", "text", "label", "split"), rows)


def feature_bank(folder: Path, n: int = 60, text: bool = False) -> Path:
    """A teacher that knows the animal: as features, or in words."""
    said: dict = {"features": torch.eye(3)[np.arange(n) % 3] + 0.01 * torch.randn(n, 3)}
    if text:
        said = {"text": [f"a {ANIMALS[i % 3]}" for i in range(n)]}
    Bank.from_arrays(folder, keys=list(range(n)), **said)
    return folder


def recipe(tmp_path: Path, bert: Path, data: dict, bank: Path | None, **changes) -> Recipe:
    values = {
        "data": {"name": "texts", "config": data},
        "teacher": {"bank": str(bank) if bank else None},
        "student": {"model": f"hf:{bert}", "pooling": "mean", "max_length": 16, **changes.pop("student", {})},
        "method": {"name": "armada", "config": {"width": 16, **changes.pop("config", {})}},
        "training": {
            "max_steps": 4,
            "n_labelled": 6,
            "n_unlabelled": 6,
            "learning_rate": 1e-3,
            "report_to": "none",
            **changes.pop("training", {}),
        },
        "output_dir": str(tmp_path / "run"),
        **changes,
    }
    return Recipe.from_dict(values)


def test_armada_teaches_a_reader_by_a_bank_of_features(tmp_path, bert):
    """And what is shipped reads a CSV, without aligner or teacher."""
    data = {"path": str(sentences(tmp_path / "texts.csv"))}
    made = recipe(
        tmp_path,
        bert,
        data,
        feature_bank(tmp_path / "bank"),
        training={"max_steps": 120, "learning_rate": 1e-2},
    )
    result = distill(made)
    assert result.scores["test"] >= 0.9
    exported = load_exported(tmp_path / "run" / "student")
    assert set(exported.class_names) == set(ANIMALS)
    weights = (tmp_path / "run" / "student").glob("*.safetensors")
    from safetensors import safe_open

    for path in weights:
        with safe_open(path, "pt") as file:
            assert not [name for name in file.keys() if "aligner" in name or "method" in name]  # noqa: SIM118
    asked = write_rows(tmp_path / "asked.csv", ("text",), [("the red dog",), ("the bird sees a cat",)])
    found = predict_files(tmp_path / "run" / "student", [asked])
    assert max(found[0]["probabilities"], key=found[0]["probabilities"].get) == "dog"
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.full
def test_a_teacher_of_texts_is_embedded_once(tmp_path, bert):
    data = {"path": str(sentences(tmp_path / "texts.csv"))}
    bank = feature_bank(tmp_path / "bank", text=True)
    distill(recipe(tmp_path, bert, data, bank, config={"teacher": "text"}))
    embedded = Bank.open(tmp_path / "run" / "text_bank")
    assert embedded.width("features") == 16
    same = embedded.lookup([0, 3]).features
    assert torch.allclose(same[0], same[1], atol=1e-5)  # both texts say: a cat


def test_a_bank_without_texts_is_refused_for_a_teacher_of_texts(tmp_path, bert):
    data = {"path": str(sentences(tmp_path / "texts.csv"))}
    made = recipe(tmp_path, bert, data, feature_bank(tmp_path / "bank"), config={"teacher": "text"})
    with pytest.raises(MissingSignalError, match=r"holds only features.*'text'"):
        distill(made)


def test_regression_is_scored_by_its_correlation(tmp_path, bert):
    rows = [(i, f"the {COLOURS[i % 3]} {ANIMALS[i // 3 % 3]}", (i % 3) - 1.0) for i in range(60)]
    path = write_rows(tmp_path / "numbers.csv", ("id", "text", "label"), rows)
    result = distill(
        recipe(
            tmp_path,
            bert,
            {"path": str(path), "problem": "regression"},
            feature_bank(tmp_path / "bank"),
            training={"max_steps": 60, "learning_rate": 3e-3},
        )
    )
    assert result.task.problem.metric.name == "pearson"
    assert result.scores["test"] > 0.9


@pytest.mark.parametrize("method", ["kd", "ucmkd"])
def test_a_method_of_classes_is_refused_in_a_regression(tmp_path, bert, method):
    """Over one logit a match of probabilities is zero whatever the teacher says."""
    rows = [(i, f"the {COLOURS[i % 3]} {ANIMALS[i // 3 % 3]}", (i % 3) - 1.0) for i in range(60)]
    path = write_rows(tmp_path / "numbers.csv", ("id", "text", "label"), rows)
    said = {"features": torch.randn(60, 4), "logits": torch.randn(60, 1), "head": (torch.randn(1, 4), None)}
    Bank.from_arrays(tmp_path / "bank", keys=list(range(60)), **said)
    made = recipe(tmp_path, bert, {"path": str(path), "problem": "regression"}, tmp_path / "bank")
    made.method = MethodSpec(method)
    with pytest.raises(
        ConfigError, match=rf"{method}.*predicts regression \(label\).*Methods of features \(armada"
    ):
        run(made, show_progress=False)


@pytest.mark.full
def test_values_that_are_unknown_are_not_scored(tmp_path, bert):
    """A user's own task may hold rows without a value in validation and test."""
    rows = [(i, f"the {COLOURS[i % 3]} {ANIMALS[i // 3 % 3]}", (i % 3) - 1.0) for i in range(60)]
    path = write_rows(tmp_path / "numbers.csv", ("id", "text", "label"), rows)
    made = recipe(tmp_path, bert, {"path": str(path), "problem": "regression"}, None)
    made.method = MethodSpec("supervised")
    task = make_task("texts", made.data.config)

    def hidden(examples: Examples) -> Examples:
        return examples.forgotten(torch.arange(len(examples)) >= 5)

    def held_out(change) -> Splits:
        return task.splits.map(lambda examples: change(examples) if len(examples) < 20 else examples)

    half, few = held_out(hidden), held_out(lambda examples: examples.subset(range(5)))
    assert half.sizes != few.sizes
    results = []
    for name, splits in (("half", half), ("few", few)):
        made.output_dir = str(tmp_path / name)
        results.append(run(made, task=replace(task, splits=splits), show_progress=False))
    assert results[0].scores == pytest.approx(results[1].scores)
    logs = [(result.folder / "log.jsonl").read_text().splitlines() for result in results]
    losses = [
        [value["eval_loss"] for line in log if "eval_loss" in (value := json.loads(line))] for log in logs
    ]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1])


def test_a_uniform_teacher_has_no_features(tmp_path, bert):
    data = {"path": str(sentences(tmp_path / "texts.csv"))}
    made = recipe(tmp_path, bert, data, feature_bank(tmp_path / "bank"), control="uniform")
    with pytest.raises(ConfigError, match=r"'uniform' .* reads its 'features'; take 'shuffled' or 'random'"):
        run(made, show_progress=False)


def test_multiple_choice(tmp_path, bert):
    rows = [(i, "the cat sees", *(f"a {COLOURS[(i + k) % 3]}" for k in range(2)), i % 2) for i in range(40)]
    path = write_rows(tmp_path / "choices.csv", ("id", "text", "first", "second", "label"), rows)
    data = {"path": str(path), "problem": "choice", "choices": ["first", "second"]}
    result = distill(recipe(tmp_path, bert, data, feature_bank(tmp_path / "bank")))
    assert 0 <= result.scores["test"] <= 1
    assert load_exported(tmp_path / "run" / "student").class_names


@pytest.mark.full
def test_a_student_of_short_texts_reads_long_ones(tmp_path, bert):
    """Its program is traced with training rows of one token each."""
    from transformers import AutoTokenizer, BertModel

    bare = tmp_path / "bare"
    BertModel.from_pretrained(bert).save_pretrained(bare)
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    tokenizer.save_pretrained(bare)
    rows = [(i, ANIMALS[i % 3], ANIMALS[i % 3]) for i in range(60)]
    path = write_rows(tmp_path / "texts.csv", ("id", "text", "label"), rows)
    distill(recipe(tmp_path, bare, {"path": str(path)}, feature_bank(tmp_path / "bank")))
    asked = write_rows(tmp_path / "asked.csv", ("text",), [("the red dog sees a cat",), ("dog",)])
    assert len(predict_files(tmp_path / "run" / "student", [asked])) == 2


@pytest.mark.full
def test_cut_texts_are_counted(tmp_path, bert):
    data = {"path": str(sentences(tmp_path / "texts.csv"))}
    made = recipe(tmp_path, bert, data, feature_bank(tmp_path / "bank"), student={"max_length": 5})
    assert any("60 texts were longer than 5 tokens" in text for text in distill(made).warnings)


def test_a_task_of_one_class_is_refused(tmp_path, bert):
    rows = [(i, f"the {COLOURS[i % 3]} cat", "cat") for i in range(20)]
    path = write_rows(tmp_path / "one.csv", ("id", "text", "label"), rows)
    with pytest.raises((ConfigError, DataError), match="one class"):
        distill(recipe(tmp_path, bert, {"path": str(path)}, feature_bank(tmp_path / "bank")))


def test_keys_that_the_bank_lacks_are_named(tmp_path, bert):
    data = {"path": str(sentences(tmp_path / "texts.csv"))}
    with pytest.raises(KeyError, match="55"):
        distill(recipe(tmp_path, bert, data, feature_bank(tmp_path / "bank", n=55)))


def test_a_setting_that_names_a_missing_variable(monkeypatch, tmp_path, bert):
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    with pytest.raises(ConfigError, match=r"\$NO_SUCH_FOLDER, which is not set"):
        distill(recipe(tmp_path, bert, {"path": "$NO_SUCH_FOLDER/a.csv"}, None))
