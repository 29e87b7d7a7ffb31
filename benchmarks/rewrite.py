"""Token distillation where truth is known: valid answers and excess likelihood on the data set rewrite, seeds paired.

    python benchmarks/rewrite.py [--seeds 1,2,3] [--arms sft,jsd] [--scale 1.0] [--out rewrite.json]

A teacher of 0.64 million parameters learns of 40,000 rows. A student a quarter as large learns of 2,000 (700 steps);
from there every arm takes 400 steps more: the labels, the teacher's divergences from a live teacher on the labelled
answers, and on answers that the student itself writes to the same prompts. The library has no method that writes
within a step, so these arms go in rounds: every 50 steps the student writes as many answers as those steps take
(temperature 1), and learns what the live teacher holds likely at each of their tokens; its rate is the mean of the
other arms' schedule over the round, and Adam begins anew. About 20 minutes of processor time; ``--scale 0.01`` shows
in a minute that it runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from limbeck.data.benchmarks.rewrite import MAX_NEW_TOKENS, judge, rewrite, save_tokenizer
from limbeck.distill import distill
from limbeck.recipes import Recipe
from limbeck.students.language.fresh import fresh_causal_lm
from limbeck.students.language.writing import written

TEACHER = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 384}
STUDENT = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192}
ARMS: dict[str, dict[str, Any]] = {
    "sft": {},
    "forward_kl": {"divergence": "forward_kl"},
    "reverse_kl": {"divergence": "reverse_kl"},
    "jsd": {"divergence": "jsd"},
    "on_policy_forward": {"divergence": "forward_kl"},
    "on_policy_reverse": {"divergence": "reverse_kl"},
    "shuffled": {"divergence": "forward_kl"},
    "random": {"divergence": "forward_kl"},
}
N_TRAIN, N_TEACHER = 2000, 40_000
N_STEP, RATE, ROUNDS = (
    32,
    1e-3,
    8,
)  # rows of a step and rate of the arms; rounds of those that learn their own answers


def recipe(
    runs: Path, name: str, model: str, *, seed: int, rows: int, steps: int, n: int, rate: float
) -> dict[str, Any]:
    return {
        "data": {"name": "rewrite", "config": {"n_train": rows, "seed": seed}},
        "student": {"model": model, "max_length": 32},
        "method": {"name": "supervised"},
        "training": {
            "max_steps": steps, "n_labelled": n, "learning_rate": rate, "weight_decay": 0.01, "adam_beta2": 0.98,
            "warmup_steps": min(30, steps // 4), "lr_scheduler_type": "cosine", "max_grad_norm": 1.0,
            "eval_strategy": "no", "save_strategy": "no",
        },
        "output_dir": str(runs / name),
        "seed": seed,
    }  # fmt: skip


def trained(values: dict[str, Any]) -> Path:
    shutil.rmtree(values["output_dir"], ignore_errors=True)
    distill(Recipe.from_dict(values))
    return Path(values["output_dir"]) / "student"


@torch.no_grad()
def scored(folder: Path, seed: int) -> dict[str, float]:
    """On 400 new prompts: share of valid answers in %, likeliest and drawn ones; nats a letter above the entropy."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    task = rewrite(n_train=N_TRAIN, seed=seed)
    with task.splits.final_evaluation():
        rows = task.splits["test"].all_rows()
    prompts, answers, end = list(rows["prompt"]), list(rows["completion"]), tokenizer.eos_token_id
    coded = [torch.tensor(ids) for ids in tokenizer(prompts)["input_ids"]]
    found = {}
    for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        said = written(
            model, coded, max_new_tokens=MAX_NEW_TOKENS, ends=[end], temperature=temperature, seed=3
        )
        texts = [tokenizer.decode(row[row >= 0], skip_special_tokens=True) for row in said]
        found[name] = 100 * statistics.mean(judge(*pair).valid for pair in zip(prompts, texts, strict=True))
    total, letters = 0.0, sum(map(len, answers))
    for prompt, answer in zip(coded, answers, strict=True):
        ids = torch.cat([prompt, torch.tensor([*tokenizer(answer)["input_ids"], end])])
        log_p = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None]).squeeze(1)
        total -= float(log_p[len(prompt) - 1 :].sum())
    truth = sum(judge(*pair).log_p for pair in zip(prompts, answers, strict=True))
    return found | {"excess": (total + truth) / letters}


def own_answers(folder: Path, path: Path, n: int, seed: int) -> None:
    """Write a table of what the student in ``folder`` answers to ``n`` training prompts, and held-out rows to be
    scored."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer, splits = AutoTokenizer.from_pretrained(folder), rewrite(n_train=N_TRAIN, seed=seed).splits
    with splits.final_evaluation():
        parts = {role: splits[role].all_rows() for role in ("train", "validation", "test")}
    draw = random.Random(str(path))
    prompts = draw.sample(list(parts["train"]["prompt"]), n)
    coded, end = [torch.tensor(ids) for ids in tokenizer(prompts)["input_ids"]], tokenizer.eos_token_id
    said = written(
        model, coded, max_new_tokens=MAX_NEW_TOKENS, ends=[end], temperature=1.0, seed=draw.randrange(1 << 30)
    )
    rows = [
        {
            "prompt": prompt,
            "completion": tokenizer.decode(row[row >= 0], skip_special_tokens=True),
            "finish_reason": "stop" if end in row else "length",
            "split": "train",
        }
        for prompt, row in zip(prompts, said, strict=True)
    ]
    for role in ("validation", "test"):
        few = zip(parts[role]["prompt"][:16], parts[role]["completion"][:16], strict=True)
        rows += [{"prompt": p, "completion": c, "finish_reason": "stop", "split": role} for p, c in few]
    path.write_text("\n".join(json.dumps(row) for row in rows if row["completion"]))


def in_rounds(runs: Path, values: dict[str, Any], seed: int) -> Path:
    """The student after all rounds of an arm that learns its own answers."""
    steps, warm_up = values["training"]["max_steps"], values["training"]["warmup_steps"]
    student = Path(values["student"]["model"].removeprefix("hf:"))
    each = max(1, steps // ROUNDS)
    for number, first in enumerate(range(0, steps, each)):
        n = min(each, steps - first)
        table = runs / f"{Path(values['output_dir']).name}-{number}.jsonl"
        own_answers(student, table, min(N_TRAIN, n * N_STEP), seed)
        rate = statistics.mean(_share(step, warm_up, steps) for step in range(first, first + n))
        student = trained(values | {
            "data": {"name": "prompts", "config": {
                "path": str(table), "cut_answers": "keep", "problem": {"max_new_tokens": MAX_NEW_TOKENS},
            }},
            "student": values["student"] | {"model": f"hf:{student}"},
            "training": values["training"] | {
                "max_steps": n, "warmup_steps": 0, "lr_scheduler_type": "constant", "learning_rate": RATE * rate,
            },
            "output_dir": f"{values['output_dir']}-{number}",
        })  # fmt: skip
    return student


def _share(step: int, warm_up: int, steps: int) -> float:
    """Of the rate, at a step of the cosine that the other arms go by."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def untrained(runs: Path, words: Path) -> Path:
    """A teacher that has learnt nothing: the control of a live one, which says what it says."""
    torch.manual_seed(0)
    settings = TEACHER | {"tie_word_embeddings": True}
    fresh_causal_lm(str(words), settings, torch.float32).save_pretrained(runs / "untrained")
    save_tokenizer(runs / "untrained")
    return runs / "untrained"


def arms_of(
    runs: Path, seed: int, teacher: Path, words: Path, scale: float, arms: list[str]
) -> dict[str, dict[str, float]]:
    steps = [max(1, round(scale * n)) for n in (700, 400)]
    fresh = recipe(
        runs, f"start-{seed}", f"causal_lm:{words}", seed=seed, rows=N_TRAIN, steps=steps[0], n=64, rate=3e-3
    )
    fresh["student"]["config"] = STUDENT | {"tie_word_embeddings": True}
    start = trained(fresh)
    found = {"start": scored(start, seed)}
    for arm in arms:
        config = ARMS[arm]
        values = recipe(
            runs, f"{arm}-{seed}", f"hf:{start}", seed=seed, rows=N_TRAIN, steps=steps[1], n=N_STEP, rate=RATE
        )
        if config:
            given = {**config, "temperature": 1.0, "weight_supervised": 0.0}
            values["method"] = {"name": "divergence", "config": given}
            asked = untrained(runs, words) if arm == "random" else teacher
            values["teacher"] = {"live": f"hf:{asked}", "train": False}
            values["control"] = "shuffled" if arm == "shuffled" else "none"
        student = in_rounds(runs, values, seed) if arm.startswith("on_policy") else trained(values)
        found[arm] = scored(student, seed)
        print(seed, arm, {name: round(value, 3) for name, value in found[arm].items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--arms", default=",".join(ARMS), help="sft is always among them")
    parser.add_argument("--scale", type=float, default=1.0, help="of all numbers of steps")
    parser.add_argument("--runs", type=Path, default=Path("runs/rewrite"))
    parser.add_argument("--out", type=Path, default=Path("rewrite.json"))
    options = parser.parse_args()
    chosen = ["sft", *(arm for arm in options.arms.split(",") if arm != "sft")]
    torch.set_num_threads(1)
    words = options.runs / "words"
    save_tokenizer(words)
    steps, rows = max(1, round(1500 * options.scale)), max(200, round(N_TEACHER * options.scale))
    values = recipe(
        options.runs, "teacher", f"causal_lm:{words}", seed=0, rows=rows, steps=steps, n=96, rate=2e-3
    )  # fmt: skip
    values["student"]["config"] = TEACHER | {"tie_word_embeddings": True}
    teacher = trained(values)
    found: dict[str, Any] = {"teacher": scored(teacher, 1)}
    print("teacher", found["teacher"], flush=True)
    for seed in options.seeds.split(","):
        found[seed] = arms_of(options.runs, int(seed), teacher, words, options.scale, chosen)
        options.out.write_text(json.dumps(found, indent=1))
    beside_sft = "excess beside sft, by seed | sampled beside sft, by seed"
    print(f"| arm | greedy valid % | sampled valid % | excess nats a letter | {beside_sft} |")
    print("|---|---|---|---|---|---|")
    by_seed = [found[seed] for seed in options.seeds.split(",")]
    for arm in ("start", *chosen):
        means = [
            statistics.mean(run[arm][name] for run in by_seed) for name in ("greedy", "sampled", "excess")
        ]
        beside = [
            ", ".join(f"{run[arm][name] - run['sft'][name]:+.{digits}f}" for run in by_seed)
            for name, digits in (("excess", 3), ("sampled", 1))
        ]
        print(f"| {arm} | {means[0]:.1f} | {means[1]:.1f} | {means[2]:.3f} | {' | '.join(beside)} |")


if __name__ == "__main__":
    main()
