"""Damage and kill at length: ``python tests/robust/run.py --n 500 --kills 100``; the counts of docs/reliability.md.

Prints a line for each subject and scenario, and what must not be; the exit status is 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from robust.fuzz import OUTCOMES, damaged
from robust.kills import SCENARIOS, killed
from robust.subjects import SUBJECTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="damages of each subject")
    parser.add_argument("--kills", type=int, default=40, help="SIGKILLs in each scenario")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each subject, at most")
    parser.add_argument("--only", default="", help="subjects and scenarios whose name holds this")
    values = parser.parse_args()
    torch.set_num_threads(1)
    bad: list[str] = []
    print(f"{'damaged':<34}{'times':>8} " + " ".join(f"{name:>8}" for name in OUTCOMES))
    for subject in SUBJECTS:
        if values.only in subject.name and values.n:
            with tempfile.TemporaryDirectory() as scratch:
                until = time.monotonic() + values.seconds
                tally = damaged(subject, values.n, Path(scratch), seed=values.seed, until=until)
            print(tally, flush=True)
            bad += tally.bad
    print(f"\n{'killed':<34}{'times':>8} {'kept':>8} {'lost':>8}")
    for scenario in SCENARIOS:
        if values.only in scenario.name and values.kills:
            with tempfile.TemporaryDirectory() as scratch:
                until = time.monotonic() + values.seconds
                n, lost = killed(scenario, values.kills, Path(scratch), seed=values.seed, until=until)
            print(f"{scenario.name:<34}{n:>8} {n - len(lost):>8} {len(lost):>8}", flush=True)
            bad += lost
    print("\n".join(["", *bad]) if bad else "\nnothing was read wrong, lost, or ended in a raw error")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
