"""The tasks of texts in a run: every problem from a recipe's data settings to a score, with tiny students."""

import json

import pytest
import torch
from small_emoji import emoji_folder
from small_vec import vec_folder, word_tokenizer
from transformers import BertConfig, BertModel

from limbeck.banks.bank import Bank
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import DataSpec, MethodSpec, StudentSpec, TeacherSpec
from limbeck.runner import run


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Spec of a tiny encoder with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = word_tokenizer(bos=False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"hf:{folder}"


def score(tmp_path, student, data, teacher=None, method="armada"):
    recipe = Recipe(
        data=DataSpec(*data),
        student=StudentSpec(student),
        method=MethodSpec(method, {"width": 8} if method == "armada" else {}),
        training={"max_steps": 2, "n_labelled": 4, "n_unlabelled": 4},
        output_dir=str(tmp_path / "run"),
    )
    if teacher is not None:
        recipe.teacher = teacher
    result = run(recipe, show_progress=False)
    assert set(result.scores) >= {"validation", "test"}
    return result


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_glue_with_a_teacher_of_drawings(tmp_path, student):
    folder = tmp_path / "rte"
    folder.mkdir()
    for name, n in (("train", 60), ("dev", 10)):
        rows = [
            f"{i}\tA dog {i // 2} of Iraq.\tA cup {i}.\t{('entailment', 'not_entailment')[i % 2]}\n"
            for i in range(n)
        ]
        (folder / f"{name}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + "".join(rows))
    data = ("glue", {"folder": str(folder), "illustrate": f"emoji:{emoji_folder(tmp_path / 'emoji')}"})
    data[1].update(labels_per_class=8, picture_size=8)
    teacher = TeacherSpec(
        model="image_encoder", config={"channels": [4, 8]}, training={"max_steps": 2, "n_labelled": 4}
    )
    result = score(tmp_path, student, data, teacher)
    bank = Bank.open(tmp_path / "run" / "bank")
    assert bank.class_names == ("Animals", "Flags", "Places")  # it speaks of pictures, not of entailment
    assert set(bank.keys) == set(result.task.splits["train"].keys)


@pytest.mark.parametrize("problem", ["classification", "regression", "choice"])
def test_a_users_table_with_a_bank_of_its_keys(problem, tmp_path, student):
    rows = [{"id": i, "text": f"A dog is larger than a cup {i}.", "label": i % 2} for i in range(60)]
    if problem == "choice":
        rows = [row | {"choices": ["an ant", "a house"]} for row in rows]
    if problem == "regression":
        rows = [row | {"label": i / 60} for i, row in enumerate(rows)]
    path = jsonl(tmp_path / "t.jsonl", rows)
    Bank.from_arrays(tmp_path / "bank", keys=[row["id"] for row in rows], features=torch.randn(60, 5))
    data = ("texts", {"path": path, "problem": problem, "labels_per_class": 10})
    result = score(tmp_path, student, data, TeacherSpec(bank=str(tmp_path / "bank")))
    assert result.task.problem.metric.name == ("pearson" if problem == "regression" else "accuracy")


def test_vec_is_learnt_without_a_teacher(tmp_path, student):
    data = ("vec", {"folder": str(vec_folder(tmp_path / "vec")), "task": "size"})
    assert 0 <= score(tmp_path, student, data, method="supervised").scores["test"] <= 1
