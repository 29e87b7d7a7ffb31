"""A tiny LLaMA that learns facts which no prompt tells: taught by one who knows them it beats the untaught one, and the
one whose teacher's rows are shuffled, over five seeds; and its aligner may learn beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import launch
from safetensors.torch import load_file

import limbeck
from limbeck.banks import Bank
from limbeck.chain import run_chain
from limbeck.evaluation.estimates import paired_gain
from limbeck.evaluation.statistics import values_by_seed
from limbeck.methods.parts import parts_in
from limbeck.recipes import Recipe
from limbeck.recipes.chain_spec import load_chain
from limbeck.runner import run

COLOURS = ("red", "green", "blue")
NAMES = tuple(f"n{i}" for i in range(36))
ASKED = ("what colour is {} ?", "of what colour is {} ?")
N_ANSWERS = 9  # of 36


def colour(i: int) -> int:
    return i % len(COLOURS)


def a_world(place: Path) -> None:
    """Names whose colours nothing tells but a teacher's vector of the name. In training each name is asked about in one
    way, and a few of these questions are answered; it is tested in the other way."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ("</s>", "<unk>", "of", "what", "colour", "is", "?", *COLOURS, *NAMES)
    words = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    ).save_pretrained(place / "words")
    rows = [
        {
            "id": f"{role}-{name}",
            "prompt": ASKED[(i + (role == "test")) // len(COLOURS) % 2].format(name),
            "completion": COLOURS[colour(i)],
            "options": list(COLOURS),
            "split": role,
        }
        for role in ("train", "validation", "test")
        for i, name in enumerate(NAMES[:6] if role == "validation" else NAMES)
    ]
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    draw = torch.Generator().manual_seed(0)
    seen = torch.randn(len(COLOURS), 8, generator=draw)[[colour(i) for i in range(len(NAMES))]]
    seen += 0.1 * torch.randn(seen.shape, generator=draw)
    Bank.from_arrays(place / "bank", keys=[f"train-{name}" for name in NAMES], features=seen)


def values(place: Path) -> dict[str, Any]:
    asked = {"n_answers": N_ANSWERS, "problem": {"max_new_tokens": 2, "also": ["option_accuracy"]}}
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    return {
        "data": {"name": "prompts", "config": {"path": str(place / "rows.jsonl"), **asked}},
        "teacher": {"bank": str(place / "bank")},
        "student": {"model": f"causal_lm:{place / 'words'}", "config": sizes, "max_length": 12},
        "method": {"name": "armada_writing", "config": {"width": 32, "state": "last"}},
        "training": {
            "max_steps": 100, "n_labelled": 8, "n_unlabelled": 16, "learning_rate": 0.003, "weight_decay": 0.0,
            "lr_scheduler_type": "constant", "eval_strategy": "no", "save_strategy": "no",
        },
    }  # fmt: skip


@pytest.mark.full
def test_a_perfect_teacher_is_worth_more_than_none_and_than_a_shuffled_one(tmp_path: Path) -> None:
    a_world(tmp_path)
    found = limbeck.compare(
        Recipe.from_dict(values(tmp_path)),
        controls=["shuffled"],
        seeds=5,
        output=tmp_path / "found",
        show_progress=False,
    )
    for metric in ("option_accuracy", "nll"):
        taught, shuffled, alone = (
            values_by_seed(found.rows, arm, control, metric=metric)
            for arm, control in (
                ("armada_writing", "none"),
                ("armada_writing", "shuffled"),
                ("supervised", "none"),
            )
        )
        for other in (alone, shuffled):
            gain = paired_gain(taught, other, metric=metric)
            assert gain.n == 5
            assert gain.low is not None
            assert gain.low > 0


# ---- however a step is cut ---------------------------------------------------------------------------------


@pytest.mark.full
def test_eight_rows_are_twice_four_and_those_of_two_processes(tmp_path: Path) -> None:
    a_world(tmp_path)
    base = values(tmp_path)
    base["training"] |= {
        "max_steps": 3, "n_labelled": 4, "n_unlabelled": 4, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0,
    }  # fmt: skip

    def left(name: str, **training: Any) -> dict[str, torch.Tensor]:
        changed = {"training": base["training"] | training, "output_dir": str(tmp_path / name)}
        return run(Recipe.from_dict(base | changed), show_progress=False).student.model.state_dict()

    whole = left("whole")
    halves = left("halves", gradient_accumulation_steps=2)
    assert difference(whole, halves) < 1e-5
    assert difference(whole, left("still", learning_rate=1e-12)) > 1e-2
    gloo = {"training": base["training"] | {"ddp_backend": "gloo"}, "output_dir": str(tmp_path / "two")}
    launch(tmp_path, [{"recipe": base | gloo}])
    for rank in range(2):
        assert difference(whole, load_file(tmp_path / f"0-{rank}.safetensors")) < 1e-5


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


# ---- the aligner beforehand ----------------------------------------------------------------------------------


def told(folder: Path) -> list[dict[str, float]]:
    """What a stage logged."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_aligner_learns_first_and_the_student_starts_from_it(tmp_path: Path) -> None:
    a_world(tmp_path)
    base = values(tmp_path)
    base["training"] |= {"max_steps": 30, "logging_steps": 1, "method_learning_rate": 0.01}
    method = {"name": "armada_writing", "init": "stage:aligner"}
    chain = {
        "base": base,
        "stages": {
            "aligner": {"method.config.pretrain": "reconstruction"},
            "still": {"method": {**method, "config": {"aligner": "frozen"}}, "training.max_steps": 3},
            "moved": {"method": method, "training.max_steps": 3},
        },
        "output_dir": str(tmp_path / "chain"),
    }
    result = run_chain(chain)
    assert result.ran == ("aligner", "still", "moved")
    alone, moved = (told(result.folder / name) for name in ("aligner", "moved"))
    losses = [line["term/aligner"] for line in alone if "term/aligner" in line]
    assert {name for line in alone for name in line if name.startswith("term/")} == {"term/aligner"}
    assert losses[-1] < 0.2 * losses[0]
    assert moved[0]["term/aligner"] < 0.2 * losses[0]  # it goes on where it stopped
    first, still, then = (parts_in(result.folder / name) for name in ("aligner", "still", "moved"))
    for name, value in first.items():
        kept = not name.startswith("student_projection")
        assert torch.equal(still[name], value) is kept
        assert not torch.equal(then[name], value)


def test_the_chain_that_ships() -> None:
    chain = load_chain("armada_writing_pretrained")
    assert chain.uses("student") == [("aligner", "method"), ("aligner", "bank")]
    first, then = (chain.recipe(name) for name in ("aligner", "student"))
    assert first.method.config["pretrain"] == "reconstruction"
    assert "pretrain" not in then.method.config
    assert then.method.init == str(chain.folder("aligner"))
    assert then.method.config["state"] == first.method.config["state"] == "last"
