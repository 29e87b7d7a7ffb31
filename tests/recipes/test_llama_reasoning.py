"""The recipe for LLaMA students that write, with a tiny one: the same recipe, run on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import fsdp_config
import pytest
import tiny_language
import torch
from safetensors.torch import load_file

from limbeck.banks import Bank
from limbeck.distill import distill
from limbeck.recipes import Recipe

ACCELERATE = "armada_llama_reasoning_fsdp"
QUESTIONS = ("is the sky blue", "is a stone alive", "do birds sing", "can a cat read")


def test_the_recipe_is_what_the_paper_trains() -> None:
    recipe = Recipe.load("armada_llama_reasoning")
    assert (recipe.student.lora or {})["r"] == 8
    assert recipe.training["learning_rate"] == 3e-4
    assert recipe.training["n_labelled"] == 4
    assert (
        recipe.training["max_steps"] == 3 * 6_800 // 4
    )  # three epochs of 8,000 rows less validation and test


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA with its tokenizer, questions as LLM-Adapters has them, and a bank of features of theirs."""
    pytest.importorskip("peft")
    from transformers import LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("reasoning")
    folder = tiny_language.folder(place / "model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    said = ("true", "false")
    asked = [
        {
            "instruction": f"Please answer: {QUESTIONS[i % 4]}? Answer format: true/false",
            "input": "",
            "output": f"the correct answer is {said[i % 2]}",
            "answer": said[i % 2],
        }
        for i in range(40)
    ]
    (place / "asked.json").write_text(json.dumps(asked))
    Bank.from_arrays(place / "bank", keys=range(40), features=torch.randn(40, 24))
    return place


def arguments(here: Path, output: str, **changes: object) -> list[str]:
    """Everything that differs from the recipe as it ships: whose model, whose data, how long, on what."""
    changed = {
        "data.config.path": here / "asked.json",
        "teacher.bank": here / "bank",
        "student.model": f"hf:{here / 'model'}",
        "student.max_length": 400,
        "training.max_steps": 3,
        "training.warmup_steps": 0,
        "training.use_cpu": "true",
        "output_dir": here / output,
        **changes,
    }
    return [str(part) for name, value in changed.items() for part in (f"--{name}", value)]


def weights(here: Path, output: str) -> dict[str, torch.Tensor]:
    return load_file(here / output / "student" / "model.safetensors")


@pytest.mark.full
def test_it_runs_with_a_tiny_llama_and_ships_the_student_alone(here: Path) -> None:
    from transformers import AutoModelForCausalLM

    fast = {"training.learning_rate": 0.1}
    assert distill(Recipe.load("armada_llama_reasoning", arguments(here, "run", **fast))).steps == 3
    start, shipped = load_file(here / "model" / "model.safetensors"), weights(here, "run")
    assert not [name for name in shipped if "lora" in name or "aligner" in name]
    moved = {
        n.split(".")[-2] for n, value in shipped.items() if not torch.equal(value, start[n].to(value.dtype))
    }
    assert moved == {"q_proj", "v_proj"}
    written = AutoModelForCausalLM.from_pretrained(here / "run/student").generate(
        torch.tensor([[5, 6]]), max_new_tokens=2
    )
    assert written.shape[1] > 2


def test_its_accelerate_config_gives_each_process_a_row(here: Path) -> None:
    recipe = Recipe.load("armada_llama_reasoning")
    assert recipe.training["n_labelled"] % fsdp_config.config(ACCELERATE).num_processes == 0
    assert recipe.training["gradient_checkpointing"]
    assert recipe.training.get("save_strategy", "no") == "no"  # sharded runs write no checkpoints


@pytest.mark.slow
def test_sharded_over_two_processes_it_gives_the_student_of_one(here: Path) -> None:
    exact = {
        "student.dtype": "float32",
        "training.bf16": "false",
        "training.learning_rate": 0.01,
        "student.lora": "{r: 8, alpha: 16, dropout: 0.0}",  # each process has dropout of its own
    }
    distill(Recipe.load("armada_llama_reasoning", arguments(here, "one", **exact)))
    command = ["distill", "--config", "armada_llama_reasoning", *arguments(here, "two", **exact)]
    fsdp_config.run_sharded(ACCELERATE, command)
    one, two = weights(here, "one"), weights(here, "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
