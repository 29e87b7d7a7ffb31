"""The table of a comparison for a paper: Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.problems.metric import Metric
from limbeck.reporting.table import Line

MARKDOWN_FILE, LATEX_FILE = "table.md", "table.tex"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
}  # fmt: skip


def _cells(lines: Sequence[Line], metric: Metric) -> list[tuple[str, ...]]:
    unit = f"{metric} (%)" if metric.unit else str(metric)
    head = ("arm", "link", unit, "gain [95%]", "controls' gains", "verdict")
    return [
        head,
        *((x.arm, x.link, x.score, x.gain, x.all_control_gains, x.short_verdict) for x in lines),
    ]


def markdown_table(lines: Sequence[Line], metric: Metric) -> str:
    """Pipes in names are escaped."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in _cells(lines, metric)]
    rule = ["---", "---", "---:", "---:", "---:", "---"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])) + "\n"


def latex_table(lines: Sequence[Line], metric: Metric, *, caption: str) -> str:
    """For the package ``booktabs``."""
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in _cells(lines, metric)]
    return "\n".join(
        (
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{llrrrl}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_escaped(caption)}}}",
            r"\end{table}",
            "",
        )
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
