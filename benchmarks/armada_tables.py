"""The tables of docs/armada.md from the results of benchmarks/armada.py: python benchmarks/armada_tables.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

from limbeck.evaluation import interquartile_mean, read_comparison
from limbeck.evaluation.comparison import PLAN_FILE
from limbeck.evaluation.summary import judged
from limbeck.reporting.paper_tables import markdown_table
from limbeck.reporting.table import table_lines


def main() -> None:
    gains: dict[str, list[dict[int, float]]] = {}
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob(f"*/{PLAN_FILE}")):
        found = read_comparison(folder)
        if not found.rows:
            continue
        said = judged(found)
        lines = table_lines(said.rows, split=said.split, metric=said.metric, items=said.items)
        print(f"\n### {folder.name}, {len({row.seed for row in said.rows})} seeds\n")
        print(markdown_table(lines, said.metric))
        for arm, verdict in said.verdicts.items():
            if verdict.gain is not None:
                gains.setdefault(arm, []).append(dict(verdict.gain.seeds.values))
    if any(len(tasks) > 1 for tasks in gains.values()):
        print("\n### Interquartile mean of the gains over all tasks, in points\n")
        print("| arm | gain [95%] | tasks |\n|---|---|---|")
    for arm, tasks in gains.items():
        if len(tasks) > 1:
            mean = interquartile_mean(tasks)
            low, high = (100 * end if end is not None else float("nan") for end in (mean.low, mean.high))
            print(f"| `{arm}` | {100 * mean.mean:+.1f} [{low:+.1f}, {high:+.1f}] | {len(tasks)} |")


if __name__ == "__main__":
    main()
