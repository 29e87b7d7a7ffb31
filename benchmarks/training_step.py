"""Cost of a training step of each method, relative to ``supervised``, in our own trainer on av_digits.

    python benchmarks/training_step.py [--images mnist:DIR] [--audio fsdd:DIR] [--steps 60] [--rounds 5] [--arms 'A;B']

One process, one thread. A round trains every arm for some steps, in a changing order; a step's time runs from the end
of one step to the end of the next, so views, look-ups, EMA and logging are in it. A result is the median over all
steps of all rounds, and a ratio that of two medians. "raw loop" is a plain loop over the same draws and views with the
same loss, optimiser, schedule, clipping and average: what "supervised" takes more is the trainer's own cost.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from transformers import TrainerCallback

from limbeck.data import make_task
from limbeck.plan import make_trainer
from limbeck.recipes import MethodSpec, Recipe, TeacherSpec
from limbeck.teacher_stage import teacher_bank
from limbeck.training import DistillationTrainer

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
RAW, OWN_COST = "raw loop", 0.8e-3  # at most, seconds a step
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
        return [b - a for a, b in pairwise(self.ends[4:])]  # the first steps warm up


def raw_loop(trainer: DistillationTrainer, steps: int) -> list[float]:
    """Step times of a loop that anyone would write, on what the trainer would train."""
    student = trainer.model.student.model.train()
    optimiser = trainer.create_optimizer()
    schedule = trainer.create_scheduler(steps, optimiser)
    ends = []
    for step, batch in enumerate(trainer.get_train_dataloader()):
        loss = cross_entropy(student(*batch["inputs"].values()), batch["targets"]["values"])
        loss.backward()
        clip_grad_norm_(student.parameters(), TRAINING["max_grad_norm"])
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        trainer.model.follow(step)
        ends.append(time.process_time())
    return [b - a for a, b in pairwise(ends[4:])]


def measure(
    images: str, audio: str, steps: int, rounds: int, folder: Path, arms: list[str]
) -> dict[str, list[float]]:
    """Step times of every arm, all rounds together."""
    sources = {"images": images, "audio": audio, "labels_per_class": 2}
    links = {ARMS[arm][2] for arm in arms if arm != RAW} | {"by_class"}
    tasks = {link: make_task("av_digits", {**sources, "link": link}) for link in sorted(links)}
    teacher = TeacherSpec(training={"max_steps": 200})
    taught = {ARMS[arm][2] for arm in arms if arm not in (RAW, "supervised")}
    banks = {link: teacher_bank(teacher, tasks[link], folder / link) for link in sorted(taught)}
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    for turn in range(rounds):
        for arm in random.Random(turn).sample(arms, len(arms)):
            method, config, link, _ = ARMS["supervised" if arm == RAW else arm]
            recipe = Recipe(
                method=MethodSpec(method, config),
                training={**TRAINING, "max_steps": steps},
                output_dir=str(folder / "run"),
            )
            teachers = {"teacher": banks[link]} if method != "supervised" else {}
            trainer = make_trainer(recipe, tasks[link], teachers, folder)
            if arm == RAW:
                times[arm] += raw_loop(trainer, steps)
                continue
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
    every = [*ARMS, RAW]
    parser.add_argument("--arms", default=";".join(every), help="names, with ; between")
    options = parser.parse_args()
    arms = options.arms.split(";")
    if unknown := set(arms) - set(every):
        parser.error(f"unknown arm {unknown.pop()!r}; choose from {'; '.join(every)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        times = measure(options.images, options.audio, options.steps, options.rounds, Path(folder), arms)
    medians = {arm: statistics.median(values) for arm, values in times.items()}
    base = medians.get("supervised", medians[arms[0]])
    print(
        f"| arm | step, median | relative to {'supervised' if 'supervised' in arms else arms[0]} | at most |"
    )
    print("|---|---|---|---|")
    for arm, median in medians.items():
        most = None if arm == RAW else ARMS[arm][3]
        print(f"| {arm} | {1e3 * median:.2f} ms | {median / base:.2f} | {most or ''} |")
    if {"supervised", RAW} <= set(arms):
        own = 1e3 * (medians["supervised"] - medians[RAW])
        print(f"\nThe trainer's own cost: {own:.2f} ms a step (at most {1e3 * OWN_COST:g})")


if __name__ == "__main__":
    main()
