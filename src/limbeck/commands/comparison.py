"""What ``limbeck demo`` and ``limbeck compare`` print of a comparison."""

from __future__ import annotations

import json

from limbeck.commands.parser import print_json
from limbeck.errors import one_line
from limbeck.evaluation.comparison import Comparison
from limbeck.evaluation.results import NO_CONTROL
from limbeck.evaluation.summary import SUMMARY_FILE, finals, judged
from limbeck.reporting.report import REPORT_FILE


def print_comparison(found: Comparison, *, as_json: bool) -> None:
    """Tables, verdicts and warnings, or ``compare.json`` and the path of the report."""
    report = found.folder / REPORT_FILE
    if as_json:
        content = json.loads((found.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        print_json({**content, "report": str(report)})
        return
    from rich.console import Console

    from limbeck.reporting import results_table

    console = Console()
    for split in finals(found.rows):
        said = judged(found, split)
        console.print(results_table(said.rows, split=split, metric=said.metric, items=said.items))
        if split == finals(found.rows)[0]:
            for verdict in said.verdicts.values():
                console.print(f"- {one_line(verdict.sentence)}", highlight=False, markup=False)
    for sentence in run_warnings(found):
        console.print(f"! {one_line(sentence)}", highlight=False, markup=False)
    print(f"\nreport: {report}")


def run_warnings(found: Comparison) -> list[str]:
    """What was warned of in runs without a control; what is broken on purpose may well be warned of."""
    return [
        f"{cell.arm}, seed {cell.seed}: {text}"
        for cell in found.done
        if cell.control == NO_CONTROL
        for text in found.outcomes[cell].warnings
    ]
