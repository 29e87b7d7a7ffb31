"""A student that writes, from a table of prompts and answers to a shipped folder, however its steps are cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch
from launching import launch
from safetensors.torch import load_file
from teachers import tiny_vlm

from limbeck.banks import Bank
from limbeck.cli import main
from limbeck.distill import distill
from limbeck.errors import ConfigError, DataError
from limbeck.recipes import Recipe
from limbeck.runner import run
from limbeck.students.language.fresh import fresh_causal_lm
from limbeck.teachers import AnswerTeacher

SIZES = {"hidden_size": 16, "num_attention_heads": 2}


def recipe(place: Path, output: str = "run", **changes: Any) -> dict[str, Any]:
    """32 rows a step, two steps of plain descent."""
    rows, words = place / "rows.jsonl", place / "words"
    if not rows.exists():
        tiny_language.table(rows, 60)
        tiny_language.folder(words)
    training = {
        "max_steps": 2,
        "n_labelled": 32,
        "learning_rate": 0.1,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "eval_strategy": "no",
        "save_strategy": "no",
    }
    made = {
        "data": {"name": "prompts", "config": {"path": str(rows), "problem": {"max_new_tokens": 8}}},
        "student": {"model": f"causal_lm:{words}", "config": SIZES, "max_length": 24},
        "method": {"name": "supervised"},
        "training": training,
        "output_dir": str(place / output),
    }
    for name, value in changes.items():
        made[name] = {**made.get(name, {}), **value} if isinstance(value, dict) else value
    return made


def teacher(place: Path, kind: str = "gpt2") -> Path:
    """A folder with a language model of the same tokenizer."""
    recipe(place)  # which makes the tokenizer
    torch.manual_seed(5)
    model = fresh_causal_lm(
        str(place / "words"), {"kind": kind, "initializer_range": 0.3, **SIZES}, torch.float32
    )
    model.save_pretrained(place / "teacher")
    tiny_language.tokenizer().save_pretrained(place / "teacher")
    return place / "teacher"


def weights(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    return run(Recipe.from_dict(values)).student.model.state_dict()


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("method", [pytest.param("supervised", marks=pytest.mark.full), "kd"])
def test_accumulated_is_whole(tmp_path: Path, method: str) -> None:
    taught = {"teacher": {"live": f"hf:{teacher(tmp_path)}", "train": False}} if method == "kd" else {}
    whole = recipe(tmp_path, "whole", method={"name": method}, **taught)
    cut = recipe(
        tmp_path, "cut", method={"name": method}, training={"gradient_accumulation_steps": 2}, **taught
    )
    assert difference(weights(whole), weights(cut)) < 1e-6
    still = recipe(tmp_path, "still", method={"name": method}, training={"learning_rate": 1e-12}, **taught)
    assert difference(weights(whole), weights(still)) > 1e-3


@pytest.mark.full
def test_two_processes_are_one(tmp_path: Path) -> None:
    live = {"live": f"hf:{teacher(tmp_path)}", "train": False}
    made = [recipe(tmp_path, "supervised"), recipe(tmp_path, "kd", method={"name": "kd"}, teacher=live)]
    launch(
        tmp_path,
        [{"recipe": values | {"training": values["training"] | {"ddp_backend": "gloo"}}} for values in made],
    )
    for number, values in enumerate(made):
        alone = run(Recipe.from_dict(values | {"output_dir": str(tmp_path / f"alone-{number}")}))
        for rank in range(2):
            found = load_file(tmp_path / f"{number}-{rank}.safetensors")
            assert difference(found, alone.student.model.state_dict()) < 1e-6
        scores = json.loads((tmp_path / f"{number}-0.json").read_text())
        assert scores["test"]["nll"] == pytest.approx(alone.metrics["test"]["nll"], rel=1e-6)


def test_a_bank_teaches_as_the_live_teacher(tmp_path: Path) -> None:
    folder = teacher(tmp_path)
    asked = {"name": "divergence", "config": {"divergence": "reverse_kl", "temperature": 1.0}}
    live = recipe(tmp_path, "live", method=asked, teacher={"live": f"hf:{folder}", "train": False})
    own = recipe(tmp_path, "own", method=asked, teacher={"model": f"hf:{folder}", "train": False})
    bank = AnswerTeacher.load(folder)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    columns = {name: [row[name] for row in rows] for name in ("id", "prompt", "completion")}
    Bank.build(tmp_path / "bank", bank, columns, key="id")
    kept = recipe(tmp_path, "kept", method=asked, teacher={"bank": str(tmp_path / "bank")})
    found = weights(live)
    assert difference(found, weights(own)) < 1e-6
    assert difference(found, weights(kept)) < 1e-6
    shuffled = weights(live | {"control": "shuffled", "output_dir": str(tmp_path / "shuffled")})
    assert difference(found, shuffled) > 1e-4
    with pytest.raises(ConfigError, match="ask it live"):
        run(Recipe.from_dict(kept | {"control": "shuffled"}))
    with pytest.raises(ConfigError, match=r"set teacher\.train: false"):
        run(Recipe.from_dict(recipe(tmp_path, method=asked, teacher={"model": f"hf:{folder}"})))


def test_from_a_table_to_plain_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    training = {"max_steps": 8, "optim": "adamw_torch", "learning_rate": 0.01}
    config = {"path": str(tmp_path / "rows.jsonl"), "problem": {"max_new_tokens": 8, "also": ["exact_match"]}}
    values = recipe(tmp_path, training=training, data={"config": config})
    values["student"]["config"] = {**SIZES, "vocab_size": 64}  # padded
    result = distill(Recipe.from_dict(values))
    assert set(result.metrics["test"]) == {"nll", "exact_match"}
    folder, prompts = tmp_path / "run" / "student", ("ab>", "cba>", "d>")
    (tmp_path / "new.jsonl").write_text("\n".join(json.dumps({"prompt": prompt}) for prompt in prompts))
    capsys.readouterr()
    assert main(["predict", str(folder), str(tmp_path / "new.jsonl"), "--json"]) == 0
    said = [row["completion"] for row in json.loads(capsys.readouterr().out)]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for prompt, answer in zip(prompts, said, strict=True):
        tokens = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        written = model.generate(**tokens)[0, tokens["input_ids"].shape[1] :]
        assert len(written) <= 8
        assert tokenizer.decode(written, skip_special_tokens=True).strip() == answer


def test_adapters_on_a_checkpoint(tmp_path: Path) -> None:
    folder = teacher(tmp_path, "llama")
    student = {"model": f"hf:{folder}", "config": {}, "lora": {"r": 2, "dropout": 0.0}}
    values = recipe(tmp_path, student=student)
    result = run(Recipe.from_dict(values))
    trained = {name for name, value in result.student.model.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)  # the head of the vocabulary stays as it was


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = teacher(tmp_path)
    other = tiny_language.tokenizer()
    other.add_tokens(["zebra"])
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(other))
    model.save_pretrained(tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    live = {"live": f"hf:{tmp_path / 'other'}", "train": False}
    with pytest.raises(ConfigError, match="another vocabulary than the student"):
        run(Recipe.from_dict(recipe(tmp_path, method={"name": "kd"}, teacher=live)))


@pytest.mark.full
def test_a_live_teacher_that_sees(tmp_path: Path) -> None:
    """The student has words alone; of a bank and live it learns the same, and of other pictures something else."""
    folder = tiny_vlm.llava(tmp_path / "vlm")
    for i, picture in enumerate(tiny_vlm.pictures(60)):
        picture.save(tmp_path / f"{i}.png")
    asked = {"method": {"name": "kd"}, "teacher": {"live": f"hf:{folder}", "train": False}}
    found = {}
    for name, moved in (("live", 0), ("others", 1)):
        seen = {"teacher_image": lambda i, moved=moved: f"{(i + moved) % 60}.png"}
        path = tiny_language.table(tmp_path / f"{name}.jsonl", 60, **seen)
        made = recipe(tmp_path, name, **asked)
        made["data"]["config"]["path"] = str(path)
        found[name] = weights(made)
    made["data"]["config"]["path"] = str(tmp_path / "live.jsonl")
    bank = made | {"teacher": {"model": f"hf:{folder}", "train": False}, "output_dir": str(tmp_path / "kept")}
    assert difference(found["live"], weights(bank)) < 1e-6
    assert difference(found["live"], found["others"]) > 1e-4
    shuffled = made | {"control": "shuffled", "output_dir": str(tmp_path / "shuffled")}
    assert difference(found["live"], weights(shuffled)) > 1e-4
    (tmp_path / "7.png").unlink()
    with pytest.raises(DataError, match=r"names the picture '7\.png', which is no file beside the table"):
        run(Recipe.from_dict(made))
