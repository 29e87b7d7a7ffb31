"""The tables of docs/armada.md from the results of benchmarks/armada.py: python benchmarks/armada_tables.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

from limbeck.evaluation.comparison import read_journal
from limbeck.evaluation.results import Row
from limbeck.evaluation.statistics import arms_of, controls_of, estimate, values_by_seed, verdicts
from limbeck.reporting.table import SHORT_VERDICT, gain_text, percent, signed


def main() -> None:
    for folder in sorted(Path(sys.argv[1]).glob("*-*")):
        rows = whole_seeds([row for done in read_journal(folder / "runs.jsonl").values() for row in done])
        if rows:
            print(f"\n### {folder.name}, {len({row.seed for row in rows})} seeds\n\n{table(rows)}")


def whole_seeds(rows: list[Row]) -> list[Row]:
    """Rows of the seeds that every arm and control has."""
    cells = {(row.arm, row.control) for row in rows}
    seeds = {row.seed for row in rows}
    whole = {s for s in seeds if {(r.arm, r.control) for r in rows if r.seed == s} == cells}
    return [row for row in rows if row.seed in whole]


def table(rows: list[Row]) -> str:
    judged = verdicts(rows)
    lines = ["| arm | test | gain [95%] | shuffled | random | verdict |", "|---|---|---|---|---|---|"]
    for arm in arms_of(rows):
        verdict, score = judged[arm], percent(estimate(values_by_seed(rows, arm)))
        control = {name: signed(gain.mean) for name, gain in verdict.control_gain.items()}
        shown = [control.get(name, "") for name in ("shuffled", "random")]
        said = SHORT_VERDICT[verdict.kind] if controls_of(rows, arm) or verdict.kind == "no_gain" else ""
        lines.append(f"| `{arm}` | {score} | {gain_text(verdict.gain)} | {' | '.join(shown)} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
