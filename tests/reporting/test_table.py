"""The table in the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from limbeck.errors import DataError
from limbeck.evaluation import Row, estimate
from limbeck.reporting import results_table, results_text
from limbeck.reporting.table import gain_text, score_text, table_lines

Rows = Callable[..., list[Row]]


def printed(rows: list[Row], width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(results_table(rows))
    return console.file.getvalue().splitlines()


def test_lines_say_what_was_found(comparison: Rows) -> None:
    lines = {line.arm: line for line in table_lines(comparison(), given={"paired": "soft labels"})}
    assert list(lines) == ["supervised", "ucmkd", "paired", "bagged"]
    assert lines["paired"].short_verdict == lines["bagged"].short_verdict == "teacher helps"
    assert lines["ucmkd"].short_verdict == "no gain seen"
    assert (lines["supervised"].given, lines["supervised"].gain) == ("nothing", "–")
    assert lines["paired"].given == "soft labels"
    assert lines["bagged"].control_gain.startswith("-")


@pytest.mark.parametrize("seeds", [1, 5])
def test_fits_80_columns(comparison: Rows, seeds: int) -> None:
    rows = comparison(seeds)
    assert all(len(line) <= 80 for line in results_text(rows).splitlines())
    assert len(printed(rows)) == 4 + 3  # arms + title, head, caption: no line was folded
    long = [replace(row, arm="an arm with quite a long name") if row.arm == "paired" else row for row in rows]
    assert max(len(line) for line in results_text(long).splitlines()) <= 80
    assert "an arm" in results_text(long)


def test_names_are_not_markup(comparison: Rows) -> None:
    rows = [replace(row, arm="[red]x[/]") if row.arm == "paired" else row for row in comparison()]
    assert any("[red]x[/]" in line for line in printed(rows, 120))


def test_one_run_says_so(comparison: Rows) -> None:
    text = results_text(comparison(1))
    assert "one run" in text
    assert "±" not in text.split("verdict")[1]


def test_more_controls_show_by_name(comparison: Rows) -> None:
    rows = comparison()
    rows += [
        replace(row, control="random") for row in rows if (row.arm, row.control) == ("paired", "shuffled")
    ]
    (line,) = [line for line in table_lines(rows) if line.arm == "paired"]
    assert line.all_control_gains.endswith("random")
    assert "random" not in line.control_gain


def test_cells() -> None:
    assert score_text(estimate({0: 0.855, 1: 0.909})) == "88.2 ± 3.8"
    assert gain_text(None) == "–"
    assert gain_text(estimate({0: -0.0001})) == "+0.0"


def test_no_rows() -> None:
    with pytest.raises(DataError, match="no result rows"):
        results_table([])
