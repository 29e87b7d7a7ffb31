"""Does ARMADA help a text student? Arms x controls x seeds on pictures that the student never sees.

    python benchmarks/armada.py emoji_color few_pairs --seeds 5 --output runs/armada

Tasks: glyphs, emoji_color, emoji_group, rte. Regimes: ``few`` (10 labels a class, pictures of those rows only),
``few_pairs`` (10 labels a class, and a picture of every training row) and ``all`` (every label). One image teacher is
trained and asked once per task; every arm has the same student, steps, batches, learning rate and scoring.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from limbeck.data import make_task
from limbeck.distill import result_rows
from limbeck.evaluation import Arm, compare
from limbeck.evaluation.results import Row
from limbeck.recipes import DataSpec, MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.reporting import report_folder
from limbeck.run import run, teacher_bank

DATA = Path(os.environ.get("LIMBECK_DATA", "../shared/data"))
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "glyphs": ("glyphs", {"task": "holes"}),
    "emoji_color": ("emoji", {"folder": str(DATA / "emoji"), "task": "dominant_color"}),
    "emoji_group": ("emoji", {"folder": str(DATA / "emoji"), "task": "group"}),
    "rte": ("glue", {"folder": str(DATA / "glue"), "task": "rte", "illustrate": f"emoji:{DATA / 'emoji'}"}),
}
REGIMES: dict[str, dict[str, Any]] = {
    "few": {"labels_per_class": 10, "pairs": "labelled"},
    "few_pairs": {"labels_per_class": 10, "pairs": "all"},
    "all": {"labels_per_class": None, "pairs": "all"},
}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {}),
    "label_smoothing": ("supervised", {"label_smoothing": 0.1}),
    "kd": ("kd", {"temperature": 1.0}),
    "armada_pairs": ("armada", {"manifold": "pairs"}),
    "armada_means": ("armada", {"manifold": "means"}),
    "armada_cosine": ("armada", {"manifold": "cosine"}),
}
STUDENT = StudentSpec(model="minilm", freeze=["embeddings", "layers:4"], max_length=64)
TRAINING: dict[str, Any] = {
    "max_steps": 100,
    "n_labelled": 16,
    "n_unlabelled": 16,
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "linear",
    "eval_strategy": "no",
    "save_strategy": "no",
}
TEACHER = TeacherSpec(model="image_encoder")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--controls", nargs="*", default=["shuffled", "random"])
    parser.add_argument("--output", default="runs/armada")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(options.output) / f"{options.task}-{options.regime}"
    task = make_task(*data_of(options.task, "all"), seed=0)
    bank = teacher_bank(TEACHER, task, Path(options.output) / options.task)
    arms = [arm(name, options.task, options.regime, options.controls) for name in options.arms]

    def one(chosen: Arm, control: str, seed: int) -> list[Row]:
        recipe = recipe_of(chosen.name, options.task, options.regime, control, seed, folder)
        return result_rows(run(recipe, bank=bank, show_progress=False), arm=chosen.name)

    accuracy = task.info.get("teacher_accuracy", {})
    compare(arms, one, range(options.seeds), output=folder, info={"title": folder.name, "teacher": accuracy})
    print(report_folder(folder))


def data_of(task: str, regime: str) -> tuple[str, dict[str, Any]]:
    name, config = TASKS[task]
    return name, {**config, **REGIMES[regime]}


def recipe_of(name: str, task: str, regime: str, control: str, seed: int, folder: Path) -> Recipe:
    method, config = ARMS[name]
    return Recipe(
        data=DataSpec(*data_of(task, regime)),
        teacher=TEACHER,
        student=STUDENT,
        method=MethodSpec(method, dict(config)),
        control=control,  # type: ignore[arg-type]
        training=dict(TRAINING),
        output_dir=str(folder / "runs" / f"{name}-{control}-{seed}"),
        seed=seed,
    )


def arm(name: str, task: str, regime: str, controls: list[str]) -> Arm:
    recipe: Mapping[str, Any] = asdict(recipe_of(name, task, regime, "none", 0, Path()))
    decides = {key: value for key, value in recipe.items() if key not in ("output_dir", "seed")}
    return Arm(name, () if ARMS[name][0] == "supervised" else tuple(controls), decides)


if __name__ == "__main__":
    main()
