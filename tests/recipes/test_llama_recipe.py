"""The recipe for LLaMA students, with a tiny one: the same recipe, run on a CPU, plain and sharded."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import fsdp_config
import pytest
import torch
from safetensors.torch import load_file

from limbeck.banks import Bank
from limbeck.distill import distill
from limbeck.errors import ConfigError
from limbeck.recipes import Recipe
from limbeck.recipes import recipe as recipes
from limbeck.training.sharding import check_sharding, whole

ACCELERATE = "armada_llama_lora_fsdp"
WORDS = ["a", "the", "cat", "dog", "bird", "sees", "big", "red", "blue", "river", "tree", "sky"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA with its tokenizer, texts, and a bank of their features."""
    pytest.importorskip("peft")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "</s>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="</s>").save_pretrained(
        folder / "model"
    )
    lines = [
        f"{i},{' '.join(WORDS[(i * k) % 12] for k in range(1, 4 + i % 5))},{'odd' if i % 2 else 'even'}"
        for i in range(40)
    ]
    (folder / "texts.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    Bank.from_arrays(folder / "bank", keys=range(40), features=torch.randn(40, 24))
    return folder


def arguments(here: Path, output: str, *more: str) -> list[str]:
    """Everything that differs from the recipe as it ships: whose model, whose data, how long, on what."""
    changed = {
        "--data.config": f"{{path: {here / 'texts.csv'}, key: id}}",
        "--teacher.bank": here / "bank",
        "--student.model": f"hf:{here / 'model'}",
        "--training.max_steps": 3,
        "--training.use_cpu": "true",
        "--output_dir": here / output,
    }
    return [*(str(part) for pair in changed.items() for part in pair), *more]


def weights(here: Path, output: str) -> dict[str, torch.Tensor]:
    return load_file(here / output / "student" / "model.safetensors")


def test_the_recipe_is_what_the_paper_trains() -> None:
    assert "armada_llama_lora" in recipes.shipped_recipes()
    recipe = Recipe.load("armada_llama_lora")
    assert (recipe.student.lora or {})["r"] == 8
    assert recipe.student.max_length == 128
    assert recipe.student.dtype == "bfloat16"
    assert recipe.method.name == "armada"
    assert recipe.training["n_labelled"] == 8
    assert recipe.training["bf16"]
    assert recipe.training["gradient_checkpointing"]


def test_it_runs_with_a_tiny_llama_and_ships_the_student_alone(here: Path) -> None:
    recipe = Recipe.load("armada_llama_lora", arguments(here, "plain", "--training.learning_rate", "0.1"))
    result = distill(recipe)
    assert result.steps == 3
    shipped, start = weights(here, "plain"), load_file(here / "model" / "model.safetensors")
    assert not [name for name in shipped if "lora" in name or "aligner" in name]
    moved = set()
    for name, value in shipped.items():
        before = start.get(name.removeprefix("encoder."), start.get("model." + name.removeprefix("encoder.")))
        if before is not None and not torch.equal(value, before.bfloat16()):
            moved.add(name.split(".")[-2])
    assert moved == {"q_proj", "v_proj"}  # the adapters, merged; nothing else of the checkpoint


@pytest.mark.parametrize("name", [path.stem for path in sorted(fsdp_config.FOLDER.glob("*.yaml"))])
def test_the_accelerate_config_is_one_that_accelerate_takes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [n for n in os.environ if n.startswith("FSDP_")]:
        monkeypatch.delenv(variable)
    fsdp_config.check(name)
    assert name.removesuffix("_fsdp") in recipes.shipped_recipes()
    assert name not in recipes.shipped_recipes()


def test_what_a_sharded_run_cannot_do_is_refused() -> None:
    def trainer(version: int, save: str) -> SimpleNamespace:
        plugin = SimpleNamespace(fsdp_version=version)
        state = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin))
        return SimpleNamespace(
            is_fsdp_enabled=True, accelerator=state, args=SimpleNamespace(save_strategy=save)
        )

    check_sharding(trainer(2, "no"))
    with pytest.raises(ConfigError, match="fsdp_version: 2"):
        check_sharding(trainer(1, "no"))
    with pytest.raises(ConfigError, match="save_strategy"):
        check_sharding(trainer(2, "steps"))
    layer = torch.nn.Linear(2, 2)
    assert whole(layer, lambda: pytest.fail("made anew")) is layer


@pytest.mark.slow
def test_sharded_over_two_processes_it_gives_the_student_of_one(here: Path) -> None:
    exact = ["--student.dtype", "float32", "--training.bf16", "false", "--training.learning_rate", "0.01"]
    exact += ["--student.lora", "{r: 8, alpha: 16, dropout: 0.0}"]  # each process has dropout of its own
    distill(Recipe.load("armada_llama_lora", arguments(here, "one", *exact)))
    command = ["distill", "--config", "armada_llama_lora", *arguments(here, "two", *exact)]
    fsdp_config.run_sharded(ACCELERATE, command)
    one, two = weights(here, "one"), weights(here, "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
