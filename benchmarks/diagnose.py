"""Does `limbeck diagnose` foretell what a teacher will bring? Diagnoses beside the gains of real trainings.

    python benchmarks/diagnose.py train --seeds 2        # what the trainings gain; resumes, about an hour on one core
    python benchmarks/diagnose.py diagnose --seeds 2     # what the diagnosis says before them
    python benchmarks/diagnose.py report                 # the tables and the scatter of docs/diagnose.md

The combinations of teacher, link and labels are in diagnose_combinations.py: digits (an image teacher, an audio
student), emoji and glyphs (a teacher that sees the pictures, MiniLM that reads the names). LIMBECK_DATA is the folder
of ``mnist``, ``fsdd`` and ``emoji``. A gain is the test accuracy less that of the same student, seed, labels and steps
without a teacher. No diagnosis sees a test row's label; all diagnoses of one student, its labels and seed share one
training without a teacher.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diagnose_combinations import FRESH, NAMES, Combination, Studies

from limbeck import diagnose
from limbeck.runner import run

DATA = Path(os.environ.get("LIMBECK_DATA", "../shared/data"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("train", "diagnose", "report"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[*NAMES, *FRESH], help="names of combinations")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=Path("runs/diagnose"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step == "report":
        from diagnose_tables import report

        report(options.output)
        return
    studies, file = Studies(options.data, options.output), options.output / f"{options.step}.jsonl"
    done = {(row["name"], row["seed"]) for row in read(file)}
    for seed in range(options.seeds):
        for name in options.only:
            if (name, seed) not in done:
                began = time.process_time()
                row = (trained if options.step == "train" else diagnosed)(
                    studies, Combination.named(name), seed
                )
                append(file, {"name": name, "seed": seed, **row, "seconds": time.process_time() - began})


def trained(studies: Studies, c: Combination, seed: int) -> dict[str, Any]:
    """Test accuracy with and without the teacher."""
    task, bank = studies.task(c, seed), studies.bank(c)
    result = run(studies.recipe(c, seed), task=task, bank=bank, show_progress=False)
    alone = without_teacher(studies, c, seed)["test"]
    return {"taught": result.scores["test"], "alone": alone, "warnings": result.warnings}


def diagnosed(studies: Studies, c: Combination, seed: int) -> dict[str, Any]:
    """What is said before that training."""
    task, bank = studies.task(c, seed), studies.bank(c)
    task.info["teacher_accuracy"] = {"test": studies.own_accuracy(c)}
    found = diagnose(
        studies.recipe(c, seed), task=task, bank=bank, alone=without_teacher(studies, c, seed)["validation"]
    )
    parts = {"expected": found.gain, "link": found.expectation.by_link, "pilot": found.expectation.by_pilot}
    return {
        "verdict": found.verdict,
        **{name: None if gain is None else asdict(gain) for name, gain in parts.items()},
        "most": found.expectation.high,
        "reasons": [reason.name for reason in found.reasons],
        "wrong_links": None if found.wrong_links is None else asdict(found.wrong_links),
        "facts": found.facts,
    }


def without_teacher(studies: Studies, c: Combination, seed: int) -> dict[str, float]:
    """Accuracy on validation and test of the student without a teacher, trained once for a task, its labels and a seed;
    chance without labels."""
    if not c.labels:
        return dict.fromkeys(("validation", "test"), 1 / 10)
    file = studies.folder / "alone.jsonl"
    key = {"task": c.text or "digits", "labels": c.labels, "seed": seed}
    for row in read(file):
        if {k: row[k] for k in key} == key:
            return row
    recipe = studies.recipe(c, seed, method=("supervised", {}))
    scores = run(recipe, task=studies.task(c, seed), show_progress=False).scores
    append(file, key | scores)
    return scores


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def append(file: Path, row: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
