"""The recipe for LLaMA students that write, with a tiny one: the same recipe, run on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_language
import torch
from safetensors.torch import load_file

from limbeck.banks import Bank
from limbeck.distill import distill
from limbeck.recipes import Recipe

QUESTIONS = ("is the sky blue", "is a stone alive", "do birds sing", "can a cat read")


def test_the_recipe_is_what_the_paper_trains() -> None:
    recipe = Recipe.load("armada_llama_reasoning")
    assert (recipe.student.lora or {})["r"] == 8
    assert recipe.training["learning_rate"] == 3e-4
    assert recipe.training["n_labelled"] == 4
    assert (
        recipe.training["max_steps"] == 3 * 6_800 // 4
    )  # three epochs of 8,000 rows less validation and test


@pytest.mark.full
def test_it_runs_with_a_tiny_llama_and_ships_the_student_alone(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    folder = tiny_language.folder(tmp_path / "model")
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
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    Bank.from_arrays(tmp_path / "bank", keys=range(40), features=torch.randn(40, 24))
    changed = {
        "--data.config.path": tmp_path / "asked.json",
        "--teacher.bank": tmp_path / "bank",
        "--student.model": f"hf:{folder}",
        "--student.max_length": 400,
        "--training.max_steps": 3,
        "--training.warmup_steps": 0,
        "--training.learning_rate": 0.1,
        "--training.use_cpu": "true",
        "--output_dir": tmp_path / "run",
    }
    arguments = [str(part) for pair in changed.items() for part in pair]
    assert distill(Recipe.load("armada_llama_reasoning", arguments)).steps == 3
    start, shipped = (
        load_file(folder / "model.safetensors"),
        load_file(tmp_path / "run/student/model.safetensors"),
    )
    assert not [name for name in shipped if "lora" in name or "aligner" in name]
    moved = {
        n.split(".")[-2] for n, value in shipped.items() if not torch.equal(value, start[n].to(value.dtype))
    }
    assert moved == {"q_proj", "v_proj"}
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "run/student").generate(
        torch.tensor([[5, 6]]), max_new_tokens=2
    )
    assert written.shape[1] > 2
