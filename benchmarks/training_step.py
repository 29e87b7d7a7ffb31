"""Cost of a training step of each method, relative to ``supervised``, in our own trainer on av_digits.

    python benchmarks/training_step.py [--images mnist:DIR] [--audio fsdd:DIR] [--steps 60] [--rounds 5]

One process, one thread. A round trains every arm for some steps, in a changing order; a step's time runs from the end
of one step to the end of the next, so views, look-ups, EMA and logging are in it. A result is the median over all
steps of all rounds, and a ratio that of two medians.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from limbeck.data import make_task
from limbeck.plan import make_trainer
from limbeck.recipes import MethodSpec, Recipe, TeacherSpec
from limbeck.teacher_stage import teacher_bank

# Arm to (method, config, link, most it may cost); labelled batch 32, unlabelled 64 or 4 bags of 16.
ARMS: dict[str, tuple[str, dict[str, Any], str, float | None]] = {
    "supervised": ("supervised", {}, "by_class", None),
    "kd, by class": ("kd", {}, "by_class", None),
    "feature_ot, by class": ("feature_ot", {}, "by_class", 1.5),
    "ucmkd joint, by class": ("ucmkd", {}, "by_class", 1.6),
    "ucmkd bilevel, official, by class": (
        "ucmkd",
        {"scheme": "bilevel", "variant": "official"},
        "by_class",
        2.1,
    ),
    "ucmkd bilevel, ours, by class": ("ucmkd", {"scheme": "bilevel"}, "by_class", None),
    "kd, 64 pairs": ("kd", {}, "paired", None),
    "feature_ot, 4 bags": ("feature_ot", {}, "bagged", None),
    "bagkd, 4 bags": ("bagkd", {}, "bagged", 3.0),
}
TRAINING = {
    "n_labelled": 32, "learning_rate": 2e-3, "weight_decay": 0.05, "weight_decay_on": "all", "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine", "max_grad_norm": 5.0, "ema": True, "eval_strategy": "no",
}  # fmt: skip


class StepTimes(TrainerCallback):
    """Seconds of processor time from the end of each step to the end of the next (other work on the machine would
    blur wall time)."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.process_time())

    @property
    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.ends[4:], self.ends[5:])]  # the first steps warm up


def measure(images: str, audio: str, steps: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Step times of every arm, all rounds together."""
    sources = {"images": images, "audio": audio, "labels_per_class": 2}
    tasks = {
        link: make_task("av_digits", {**sources, "link": link}) for link in ("by_class", "paired", "bagged")
    }
    teacher = TeacherSpec(training={"max_steps": 200})
    banks = {link: teacher_bank(teacher, task, folder / link) for link, task in tasks.items()}
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for turn in range(rounds):
        for arm in random.Random(turn).sample(list(ARMS), len(ARMS)):
            method, config, link, _ = ARMS[arm]
            recipe = Recipe(
                method=MethodSpec(method, config),
                training={**TRAINING, "max_steps": steps},
                output_dir=str(folder / "run"),
            )
            teachers = {"teacher": banks[link]} if method != "supervised" else {}
            trainer = make_trainer(recipe, tasks[link], teachers, folder)
            timer = StepTimes()
            trainer.add_callback(timer)
            trainer.train()
            times[arm] += timer.seconds
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", default="sklearn")
    parser.add_argument("--audio", default="speech")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        times = measure(options.images, options.audio, options.steps, options.rounds, Path(folder))
    medians = {arm: statistics.median(values) for arm, values in times.items()}
    print("| arm | step, median | relative to supervised | at most |\n|---|---|---|---|")
    for arm, median in medians.items():
        most = ARMS[arm][3]
        print(f"| {arm} | {1e3 * median:.1f} ms | {median / medians['supervised']:.2f} | {most or ''} |")


if __name__ == "__main__":
    main()
