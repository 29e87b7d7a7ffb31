"""What a run costs before and beside its steps: processor time to the first step and to a mistake's sentence, memory
at the peak, and what rows of like length in one micro-batch save a text student.

    python benchmarks/starting.py [--part start|mistakes|memory|lengths] [--source DIR:DIR] [--rounds 3]

Every figure but those of ``lengths`` is of a child process, its user and system time or its largest resident set
(``getrusage``), the median of the rounds. ``--source`` names checkouts to compare, taken in turn; default is this one.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
FIRST_STEP = """
import sys
from limbeck.cli import main
from limbeck.commands import distill
parse = distill.parse_recipe
def parsed(*arguments):
    recipe = parse(*arguments)
    from transformers import Trainer
    def first(*_, **__):
        sys.exit(0)
    Trainer.training_step = first
    return recipe
distill.parse_recipe = parsed
main(sys.argv[1:])
"""
CLI = "import sys; from limbeck.cli import main; main(sys.argv[1:])"
RUN = ["distill", "--config", "av_digits", "--method.name", "supervised"]
MISTAKES = {
    "a wrong key": ["--training.max_stepz", "3"],
    "a wrong model": ["--student.model", "small_conv"],
    "a setting that the model does not have": ["--student.config.width", "3"],
    "a wrong optimiser": ["--training.optim", "adam"],
    "a wrong type": ["--training.ema", "maybe"],
    "a value of the method out of its range": ["--method.name", "ucmkd", "--method.config.reg", "-1"],
    "a setting of the data that there is none of": ["--data.config.label_per_class", "3"],
    "a value of the data out of its range": ["--data.config.labels_per_class", "-1"],
}
TEXTS = [
    "the",
    "cat",
    "and",
    "a",
    "dog",
    "went",
    "over",
    "red",
    "hills",
    "to",
    "see",
    "what",
    "big",
    "birds",
    "do",
    "in",
    "the",
    "blue",
    "morning",
    "light",
]


def child(source: Path, program: str, arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of processor time and MiB at the peak of one run of the library in ``source``."""
    environment = {**os.environ, "PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, used = os.wait4(process.pid, 0)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def text_table(path: Path, rows: int = 400) -> Path:
    """Texts of 4 to 120 words, most of them short, each with a class."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        write.writerow(("id", "text", "label", "split"))
        for i in range(rows):
            words = draw.choices(TEXTS, k=min(120, int(4 + draw.expovariate(1 / 20))))
            split = "validation" if i % 20 == 0 else "train"
            write.writerow((i, " ".join(words), ("low", "high")[len(words) % 2], split))
    return path


def text_run(table: Path, folder: Path, steps: int) -> list[str]:
    data = ["--data.name", "texts", "--data.config", f"{{path: {table}}}"]
    settings = {
        "max_steps": steps,
        "n_labelled": 32,
        "gradient_accumulation_steps": 4,
        "learning_rate": 1e-4,
        "eval_strategy": "no",
    }
    trained = [part for name, value in settings.items() for part in (f"--training.{name}", str(value))]
    return ["distill", *data, "--student.model", "minilm", *trained, "--output_dir", str(folder)]


def compared(
    label: str, sources: list[Path], rounds: int, program: str, arguments: Any, which: int, unit: str
) -> None:
    """Print one line: a median for each source."""
    found: dict[Path, list[float]] = {source: [] for source in sources}
    for turn in range(rounds):
        for source in sources[:: 1 if turn % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                given = arguments(Path(folder)) if callable(arguments) else arguments
                found[source].append(child(source, program, given, Path(folder))[which])
    cells = [f"{statistics.median(values):.3g} {unit}" for values in found.values()]
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def lengths(rounds: int, steps: int = 3) -> None:
    """Processor time of a step of MiniLM with four micro-batches, cut by length and in the order of the draws."""
    import torch

    from limbeck.data import make_task
    from limbeck.plan import make_trainer
    from limbeck.recipes import parse_recipe
    from limbeck.training import trainer as module
    from limbeck.training.encoding import encoded_task

    torch.set_num_threads(1)
    regroups, times = module.regroups, {"order of the draws": [], "by length": []}
    with tempfile.TemporaryDirectory() as folder:
        recipe = parse_recipe(text_run(text_table(Path(folder) / "texts.csv"), Path(folder), steps)[1:])
        task = encoded_task(make_task("texts", recipe.data.config, seed=0), "minilm", 128).task
        for turn in range(rounds):
            for name in list(times)[:: 1 if turn % 2 == 0 else -1]:
                module.regroups = regroups if name == "by length" else lambda declared: False
                made = make_trainer(recipe, task, {}, Path(folder))
                before = time.process_time()
                made.train()
                times[name].append((time.process_time() - before) / steps)
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in middle.items():
        print(f"| {name} | {1e3 * seconds:.0f} ms | {seconds / middle['order of the draws']:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("start", "mistakes", "memory", "lengths"), action="append")
    parser.add_argument("--source", default=str(HERE), help="checkouts, with : between")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sources = [Path(name).resolve() for name in options.source.split(":")]
    parts = options.part or ["start", "mistakes", "memory", "lengths"]
    if "start" in parts:
        compared("to the first step", sources, options.rounds, FIRST_STEP, RUN, 0, "s")
    if "mistakes" in parts:
        for label, slip in MISTAKES.items():
            compared(label, sources, options.rounds, CLI, [*RUN, *slip], 0, "s")
    if "memory" in parts:
        compared("demo --quick", sources, options.rounds, CLI, ["demo", "--quick"], 1, "MiB")
        compared(
            "MiniLM, 12 steps", sources, options.rounds, CLI,
            lambda folder: text_run(text_table(folder / "texts.csv"), folder / "run", 12), 1, "MiB",
        )  # fmt: skip
    if "lengths" in parts:
        lengths(options.rounds)


if __name__ == "__main__":
    main()
