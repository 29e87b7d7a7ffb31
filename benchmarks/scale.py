"""Cost against size: rows of a bank, rows of a task, processes; with the exponent that the growth amounts to.

    python benchmarks/scale.py [--parts bank,task,processes] [--bank 10000 100000 1000000] [--task 1000 10000 100000]

Each size runs in a process of its own on one thread. An exponent is the slope of log cost against log rows by least
squares: 0 for a cost that does not depend on the size, 1 for one that grows as it does.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WIDTH, ASKED, STEPS = 64, 256, 30
PROCESSES = (1, 2)


def seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Median processor time."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        found.append(time.process_time() - start)
    return statistics.median(found)


def own_mebibytes() -> float:
    """Memory of this process, mapped files left out; NaN where the system does not say."""
    if platform.system() != "Linux":
        return math.nan
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def build_bank(folder: Path, rows: int) -> dict[str, float]:
    import torch

    from limbeck.banks import Bank

    x, labels = torch.randn(rows, WIDTH).half(), torch.arange(rows) % 10
    keys = [f"sample-{i:08d}" for i in range(rows)]
    return {"build, s": seconds(lambda: Bank.from_arrays(folder, keys=keys, features=x, labels=labels))}


def read_bank(folder: Path, rows: int) -> dict[str, float]:
    import random

    from limbeck.banks import Bank

    draw, before = random.Random(0), own_mebibytes()
    bank = Bank.open(folder)
    asked = iter([[f"sample-{draw.randrange(rows):08d}" for _ in range(ASKED)] for _ in range(60)])
    bank.lookup(next(asked))
    return {
        "open, ms": 1e3 * seconds(lambda: Bank.open(folder), 21),
        f"look-up of {ASKED}, ms": 1e3 * seconds(lambda: bank.lookup(next(asked)), 51),
        "own memory, MiB": own_mebibytes() - before,
    }


def train(folder: Path, rows: int) -> dict[str, float]:
    """``kd`` with a bank that has a row for each of the task's, linked one to one; ten labels a class."""
    import torch
    from transformers import TrainerCallback

    from limbeck.banks import Bank
    from limbeck.data import Examples, Splits, Task
    from limbeck.data.task import TeacherSide
    from limbeck.plan import make_trainer
    from limbeck.recipes import MethodSpec, Recipe, StudentSpec
    from limbeck.signals.links import Paired

    class Ends(TrainerCallback):
        def __init__(self) -> None:
            self.at: list[float] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.at.append(time.process_time())

    torch.set_num_threads(1)
    before = own_mebibytes()
    classes = tuple("abcdefghij")
    truth = torch.arange(rows) % 10
    x = torch.eye(10, WIDTH)[truth] + 0.5 * torch.randn(rows, WIDTH)
    keys, said = [f"s{i}" for i in range(rows)], [f"t{i}" for i in range(rows)]
    labels = torch.where(torch.arange(rows) < 100, truth, -100)
    bank = Bank.from_arrays(
        folder / "bank", keys=said, logits=torch.eye(10)[truth] * 4, labels=truth, class_names=classes
    )
    start = time.process_time()
    examples = Examples.classified({"x": x}, tuple(keys), labels, classes)
    side = TeacherSide(Splits(), Paired(dict(zip(keys[100:], said[100:]))))
    recipe = Recipe(
        student=StudentSpec("table_encoder", {"n_columns": WIDTH}),
        method=MethodSpec("kd"),
        training={"max_steps": STEPS, "n_labelled": 32, "eval_strategy": "no", "use_cpu": True},
        output_dir=str(folder / "run"),
    )
    task = Task("grown", Splits(train=examples), {"teacher": side})
    trainer = make_trainer(recipe, task, {"teacher": bank}, folder)
    ends = Ends()
    trainer.add_callback(ends)
    trainer.train()
    steps = [b - a for a, b in zip(ends.at[4:], ends.at[5:])]
    return {
        "start to the first step, s": ends.at[0] - start,
        "a step, ms": 1e3 * statistics.median(steps),
        "own memory over the imports, MiB": own_mebibytes() - before,
    }


MEASURES = {"build": build_bank, "read": read_bank, "task": train}


def measured(what: str, folder: Path, rows: int, rank: int = 0, world: int = 1, port: int = 0) -> Any:
    """A started process that prints what it measured."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if world > 1:
        environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, __file__, "--measure", what, str(folder), str(rows)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def answer_of(process: Any) -> dict[str, float]:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measurement ended with code {process.returncode}; its own words are above")
    return json.loads(out.splitlines()[-1])


def exponent(sizes: list[int], costs: list[float]) -> float:
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(c) for c in costs]).slope


def grown(name: str, sizes: list[int], kinds: list[str]) -> None:
    """A table of costs by size, with exponents."""
    found: list[dict[str, float]] = []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            parts = [answer_of(measured(kind, Path(folder) / "of", rows)) for kind in kinds]
        found.append({key: value for part in parts for key, value in part.items()})
    print(f"| {name} | " + " | ".join(f"{rows:,}" for rows in sizes) + " | exponent |")
    print("|---" * (len(sizes) + 2) + "|")
    for key in found[0]:
        costs = [each[key] for each in found]
        slope = f"{exponent(sizes, costs):.2f}" if min(costs) > 0 else ""
        print(f"| {key} | " + " | ".join(f"{cost:.3g}" for cost in costs) + f" | {slope} |")
    print(flush=True)


def several(rows: int) -> None:
    """The same global batch cut over processes of one machine."""
    print("| processes | start to the first step, s | a step, ms |\n|---|---|---|")
    for world in PROCESSES:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            running = [
                measured("task", Path(folder) / str(rank), rows, rank, world, port) for rank in range(world)
            ]
            first, *_ = [answer_of(process) for process in running]
        print(f"| {world} | {first['start to the first step, s']:.2f} | {first['a step, ms']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="bank,task,processes")
    parser.add_argument("--bank", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--task", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    parts = options.parts.split(",")
    if "bank" in parts:
        grown("rows of a bank", options.bank, ["build", "read"])
    if "task" in parts:
        grown("rows of a task", options.task, ["task"])
    if "processes" in parts:
        several(min(options.task))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(MEASURES[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
