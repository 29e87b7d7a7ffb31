"""How often does a comparison say "the teacher helps" of a teacher that knows nothing?

    python benchmarks/null_comparisons.py --n 100

Each comparison has new data and a new random teacher: noise in the place of its answers, for pairs. Beside the student
without a teacher and the arm run the controls ``shuffled`` and ``random``, five seeds each, all as in ``limbeck
compare``. Every "the teacher helps" is false. Goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy import stats

from limbeck.arm_run import outcome_of
from limbeck.banks import Bank
from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.evaluation import Arm, Outcome, run_arms
from limbeck.evaluation.summary import judged
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.seeding import keyed_generator
from limbeck.signals.links import Paired

CLASSES, WIDTH = ("a", "b", "c", "d"), 8
ROWS = {"train": 160, "validation": 40, "test": 300}
LABELLED = 24
METHODS = {"kd": {"temperature": 1.0}, "feature_ot": {}}
TRAINING = {
    "max_steps": 40,
    "n_labelled": 16,
    "n_unlabelled": 32,
    "learning_rate": 1e-2,
    "eval_strategy": "no",
    "use_cpu": True,
}


@dataclass(frozen=True)
class NullRun:
    """A run of comparison ``number``, taught by noise in ``folder``."""

    number: int
    folder: Path

    def __call__(self, arm: Arm, control: str, seed: int, folder: Path) -> Outcome:
        recipe = Recipe(
            student=StudentSpec("table_encoder", {"n_columns": WIDTH}),
            method=MethodSpec(arm.name, dict(METHODS.get(arm.name, {}))),
            training=dict(TRAINING),
            output_dir=str(folder),
            seed=seed,
        )
        bank = Bank.open(self.folder)
        return outcome_of(recipe, arm.name, control, null_task(self.number, seed), {"teacher": bank})


def null_task(number: int, seed: int) -> Task:
    """Clouds around class means; the seed decides which rows carry a label."""
    splits = {role: _cloud(number, role, n) for role, n in ROWS.items()}
    train = splits["train"]
    order = torch.randperm(len(train), generator=keyed_generator("null labels", number, seed))
    hidden = torch.ones(len(train), dtype=torch.bool)
    for c in range(len(CLASSES)):
        hidden[[i for i in order.tolist() if train.labels[i] == c][: LABELLED // len(CLASSES)]] = False
    linked = Splits(link=train.forgotten())
    side = TeacherSide(linked, Paired([train.keys[i] for i in torch.nonzero(hidden).squeeze(1).tolist()]))
    return Task("null", Splits(**{**splits, "train": train.forgotten(hidden)}), {"teacher": side})


def _cloud(number: int, role: str, n: int) -> Examples:
    means = torch.randn(len(CLASSES), WIDTH, generator=keyed_generator("null means", number))
    classes = torch.arange(n) % len(CLASSES)
    noise = 1.6 * torch.randn(n, WIDTH, generator=keyed_generator("null", number, role))
    keys = [f"{role}{i}" for i in range(n)]
    return Examples.classified({"x": means[classes] + noise}, keys, classes, CLASSES)


def random_bank(number: int, folder: Path) -> None:
    """A teacher that knows nothing of the rows it speaks of."""
    n, generator = ROWS["train"], keyed_generator("null teacher", number)
    answers = {
        "logits": 2 * torch.randn(n, len(CLASSES), generator=generator),
        "features": torch.randn(n, 6, generator=generator),
    }
    keys = [f"train{i}" for i in range(n)]
    Bank.from_arrays(folder, keys=keys, class_names=CLASSES, overwrite=True, **answers)


def verdict_of(number: int, method: str, seeds: int, output: Path) -> str:
    """What the comparison says of that teacher."""
    folder = output / f"{method}-{number}"
    known = folder / "verdict.json"
    if known.is_file():
        return json.loads(known.read_text())["verdict"]
    random_bank(number, folder / "bank")
    arms = [Arm("supervised"), Arm(method, ("shuffled", "random"), METHODS[method])]
    found = run_arms(arms, NullRun(number, folder / "bank"), range(seeds), output=folder, show_progress=False)
    kind = judged(found).verdicts[method].kind
    known.write_text(json.dumps({"verdict": kind}))
    return kind


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100, help="comparisons")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", default="kd", choices=list(METHODS))
    parser.add_argument("--output", default="runs/null")
    options = parser.parse_args()
    torch.set_num_threads(1)
    said: Counter[str] = Counter()
    for number in range(options.n):
        said[verdict_of(number, options.method, options.seeds, Path(options.output))] += 1
        false, done = said["teacher_helps"], number + 1
        interval = stats.binomtest(false, done).proportion_ci(method="exact")
        counts = ", ".join(f"{kind} {n}" for kind, n in said.most_common())
        print(
            f"{done:4d}: {counts}; false 'teacher helps' {false / done:.1%} [{interval.low:.1%}, {interval.high:.1%}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
