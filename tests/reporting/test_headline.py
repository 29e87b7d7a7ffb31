"""The sentence at the top says what the numbers allow, and no more."""

from __future__ import annotations

from collections.abc import Callable

from limbeck.evaluation import Row, verdicts
from limbeck.reporting.headline import headline

Rows = Callable[..., list[Row]]


def said(rows: list[Row]) -> tuple[str, str]:
    return headline(list(verdicts(rows).values()), rows)


def test_the_largest_teachers_gain_leads(comparison: Rows) -> None:
    finding, others = said(comparison())
    assert finding.startswith("The teacher helps: “paired” takes the student from ")
    assert finding.endswith("more than any of its controls.")
    assert others == "The teacher also helps in bagged. No gain seen: ucmkd."


def test_nothing_found(comparison: Rows) -> None:
    finding, others = said([row for row in comparison() if row.arm in ("supervised", "ucmkd")])
    assert finding == "In no arm was the teacher seen to help."
    assert others == "No gain seen: ucmkd."


def test_one_run_claims_nothing(comparison: Rows) -> None:
    finding, others = said(comparison(1))
    assert finding.startswith("In one run, “paired”")
    assert finding.endswith("a verdict needs more seeds.")
    assert others == ""


def test_without_baseline(comparison: Rows) -> None:
    assert "Nothing to compare with" in said([row for row in comparison() if row.arm == "paired"])[0]
    assert "Nothing to compare with" in said([row for row in comparison() if row.arm == "supervised"])[0]
