"""Mixup in the teacher's training, in the student's, or in both, as MIX-KD asks: python benchmarks/mixup_study.py

Scanned digits of 8 x 8 pixels (scikit-learn, extra `demo`): a teacher learns from 600 of them with and without mixup; a
smaller student learns from it on the same pictures, of which none, a tenth or all are mixed (method `mix_kd`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits

from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task
from limbeck.fit import RunResult
from limbeck.recipes import Recipe
from limbeck.runner import run
from limbeck.teachers import LiveTeacher, ModuleTeacher

NAMES = tuple(map(str, range(10)))
TRAINING = {"learning_rate": 5e-3, "n_labelled": 64, "n_unlabelled": 0, "save_strategy": "no"}
TRAINING |= {"eval_strategy": "no"}
PARTIAL = (0.0, 0.1, 1.0)


def digits() -> Task:
    """600 pictures to learn from, 300 to choose, the rest to judge."""
    data = load_digits()
    pictures = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    splits = {}
    for role, rows in zip(("train", "validation", "test"), order.split([600, 300, len(order) - 900])):
        keys = tuple(f"{role}{int(row)}" for row in rows)
        labels = torch.tensor(data.target)[rows]
        splits[role] = Examples.classified({"x": pictures[rows]}, keys, labels, NAMES)
    return Task("digits", Splits(**splits))


def trained(folder: Path, task: Task, channels: list[int], seed: int, method: str, **more: Any) -> RunResult:
    """One run; ``more``: settings of the method, ``steps``, and ``teacher``."""
    teacher, steps = more.pop("teacher", None), more.pop("steps")
    values: dict[str, Any] = {
        "student": {"model": "small_conv_net", "config": {"channels": channels}},
        "method": {"name": method, "config": more},
        "training": {**TRAINING, "max_steps": steps},
        "teacher": {"live": "model", "view": "same", "link": "paired"},
        "output_dir": str(folder),
        "seed": seed,
    }
    return run(Recipe.from_dict(values), task=task, bank=teacher, show_progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = digits()
    print("| teacher's training | teacher | " + " | ".join(f"{share:.0%} mixed" for share in PARTIAL) + " |")
    print("|---" * (2 + len(PARTIAL)) + "|")
    with tempfile.TemporaryDirectory() as root:
        for alpha in (0.0, 1.0):
            found: dict[str, list[float]] = {}
            for seed in range(options.seeds):
                folder, common = Path(root) / f"{alpha}_{seed}", {"seed": seed, "steps": options.steps}
                made = trained(folder / "teacher", task, [16, 32], method="supervised", mixup=alpha, **common)
                found.setdefault("teacher", []).append(made.scores["test"])
                net = ModuleTeacher(made.student.model, class_names=NAMES)
                live = LiveTeacher(net, task.splits["train"].forgotten(), view="same")
                for share in PARTIAL:
                    own = trained(
                        folder / str(share), task, [4, 8], method="mix_kd", partial=share, teacher=live, **common
                    )  # fmt: skip
                    found.setdefault(str(share), []).append(own.scores["test"])
            cells = [
                f"{100 * statistics.mean(v):.1f} ({100 * (max(v) - min(v)):.1f})" for v in found.values()
            ]
            print(f"| {'mixup' if alpha else 'as they are'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
