"""What a bank costs as it grows: python benchmarks/scale.py [--rows 10000,100000,1000000] [--json FILE]

Banks of 64 float16 numbers a row, with whole keys: made of arrays, opened, and 256 random rows looked up, each size in
a process of its own on one thread. Beside the figures stands the exponent ``p`` of cost = c * rows^p, fitted over all
sizes by least squares of the logarithms: 1 grows as its work does, 0 not at all. Times are of the processor.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, ASKED, TURNS = 64, 256, 50
COSTS = ("build, s", "open, ms", "look-up, ms", "peak over the imports, MiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.one is not None:
        print(json.dumps(measured(values.one)))
        return
    sizes = [int(rows) for rows in values.rows.split(",")]
    found = {rows: in_own_process(rows) for rows in sizes}
    print(f"| rows | {' | '.join(COSTS)} |\n|---|{'---|' * len(COSTS)}")
    for rows, costs in found.items():
        print(f"| {rows:,} | {' | '.join(f'{costs[name]:.3g}' for name in COSTS)} |")
    if len(sizes) > 1:
        cells = [f"{exponent(sizes, [found[rows][name] for rows in sizes]):.2f}" for name in COSTS]
        print(f"| exponent | {' | '.join(cells)} |")
    if values.json is not None:
        values.json.write_text(json.dumps(found, indent=1))


def exponent(sizes: list[int], costs: list[float]) -> float:
    """The power with which a cost grows over sizes."""
    slope, _ = np.polyfit(np.log(sizes), np.log(np.maximum(costs, 1e-6)), 1)
    return float(slope)


def in_own_process(rows: int) -> dict[str, float]:
    asked = [sys.executable, __file__, "--one", str(rows)]
    answer = subprocess.run(asked, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measured(rows: int) -> dict[str, float]:
    """Costs of one size."""
    import torch

    from limbeck.banks import Bank

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bank"
        features = np.broadcast_to(rng.standard_normal((1, WIDTH)).astype(np.float16), (rows, WIDTH))
        start = time.process_time()
        Bank.from_arrays(path, keys=np.arange(rows), features=features, dtype="float16")
        build = time.process_time() - start
        opened, asked = [], []
        for _ in range(TURNS):
            start = time.process_time()
            bank = Bank.open(path)
            opened.append(time.process_time() - start)
        for _ in range(TURNS):
            keys = rng.integers(0, rows, ASKED)
            start = time.process_time()
            bank.lookup(keys)
            asked.append(time.process_time() - start)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = (build, 1e3 * statistics.median(opened), 1e3 * statistics.median(asked), peak)
    return dict(zip(COSTS, seconds))


if __name__ == "__main__":
    main()
