"""A table of methods from comparisons: python benchmarks/method_table.py FOLDER [FOLDER ...] [--steps steps.json]

Each folder is the output of `limbeck compare` over an arms file; steps.json comes from method_steps.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from limbeck.evaluation import read_comparison
from limbeck.evaluation.summary import judged
from limbeck.reporting.table import Line, table_lines

HEAD = "| arm | method | accuracy | gain [95%] | shuffled teacher | verdict | step |\n|---|---|---|---|---|---|---|"


def table(folder: str, steps: Mapping[str, float]) -> str:
    """The arms of one comparison, the greatest gain first."""
    said = judged(read_comparison(folder))
    lines = table_lines(said.rows, split=said.split, metric=said.metric, items=said.items)
    methods = {row.arm: row.method for row in said.rows if row.control == "none"}
    seeds = len({row.seed for row in said.rows})
    lines.sort(key=lambda line: -line.verdict.gain.mean if line.verdict.gain else -1)
    rows = [_row(line, methods[line.arm], steps) for line in lines]
    return "\n".join([f"{seeds} seeds.\n", HEAD, *rows])


def _row(line: Line, method: str, steps: Mapping[str, float]) -> str:
    cost = f"{steps[line.arm]:.2f}" if line.arm in steps else "–"
    cells = (
        f"`{line.arm}`",
        f"`{method}`",
        line.score,
        line.gain,
        line.control_gain,
        line.short_verdict,
        cost,
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--steps", help="written by method_steps.py")
    options = parser.parse_args()
    steps = json.loads(Path(options.steps).read_text()) if options.steps else {}
    for folder in options.folders:
        print(f"\n### {Path(folder).name}\n\n{table(folder, steps)}")


if __name__ == "__main__":
    main()
