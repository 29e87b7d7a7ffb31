"""The report is one whole file that needs no network and runs nobody's code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.errors import DataError
from limbeck.evaluation import Row
from limbeck.reporting import feature_map, report, write_report

Rows = Callable[..., list[Row]]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Tags, attributes and text of a page, scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._in_script = "", [], False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag in ("script", "style")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag not in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self.text += data
        elif self.scripts:
            self.scripts[-1] += data


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the 5 MB drawing library out, for tests of everything else."""
    monkeypatch.setattr(report, "_plotly_js", lambda: "/* plotly */")


def embedding() -> dict[str, Any]:
    y = torch.arange(4).repeat(6)
    g = torch.Generator().manual_seed(0)
    return feature_map(
        {"image": torch.randn(24, 8, generator=g), "audio": torch.randn(24, 5, generator=g)}, y
    )


def test_complete_and_offline(tmp_path: Path, comparison: Rows, curves: list[dict[str, Any]]) -> None:
    path = write_report(
        tmp_path / "a run", title="T", rows=comparison(), curves=curves, embedding=embedding()
    )
    assert path == tmp_path / "a run" / "report.html"
    text = path.read_text(encoding="utf-8")
    assert text.count("plotly.js v") == 1
    page = Page(text)
    assert not [attrs for _, attrs in page.tags if {"src", "href"} & set(attrs)]
    assert 4_000_000 < len(text) < 6_000_000


@pytest.mark.usefixtures("_small")
def test_content(tmp_path: Path, comparison: Rows, curves: list[dict[str, Any]]) -> None:
    info = {
        "summary": "Two labels a digit.",
        "given": {"paired": "its answer for the image"},
        "data": {"images": "MNIST", "splits": {"test": 400}, "skipped": None},
        "warnings": ["term x is weak"],
        "recipe": {"method": {"name": "kd"}},
    }
    rows = comparison(5, ("test", "test_unseen", "validation"))
    path = write_report(
        tmp_path / "x.html", title="Digits", rows=rows, curves=curves, embedding=embedding(), info=info
    )
    text = Page(path.read_text(encoding="utf-8")).text
    for expected in (
        "Digits",
        "The teacher helps",
        "Two labels a digit.",
        "its answer for the image",
        "Results, test",
        "Results, unseen test",
        "MNIST",
        "test: 400",
        "term x is weak",
        '"name": "kd"',
        "teacher helps",
        "Holm",
        "orthogonal Procrustes",
    ):
        assert expected in text, expected
    assert "Results, validation" not in text
    assert path.name == "x.html"


@pytest.mark.usefixtures("_small")
def test_names_cannot_inject(tmp_path: Path, comparison: Rows) -> None:
    rows = [replace(row, arm=EVIL, link=EVIL) if row.arm == "paired" else row for row in comparison()]
    points = {"x": [[0, 1], [1, 0]], "label": [EVIL, "b"], "modality": [EVIL, "t"], "caption": EVIL}
    curves = [{"arm": EVIL, "control": EVIL, "seed": 0, "step": 1, "value": 0.5}]
    info = {"summary": EVIL, "given": {EVIL: EVIL}, EVIL: {EVIL: [EVIL]}, "warnings": [EVIL], "recipe": EVIL}
    path = write_report(tmp_path, title=EVIL, rows=rows, curves=curves, embedding=points, info=info)
    page = Page(path.read_text(encoding="utf-8"))
    plain = Page(
        write_report(
            tmp_path / "p", title="t", rows=comparison(), curves=curves, embedding=points
        ).read_text()
    )
    assert (
        [tag for tag, _ in page.tags].count("script") == [tag for tag, _ in plain.tags].count("script") == 5
    )
    assert "img" not in [tag for tag, _ in page.tags]
    assert EVIL in page.text
    figures = [json.loads(script) for script in page.scripts if script.startswith("{")]
    assert len(figures) == 3
    shown = json.dumps(
        [[trace.get("text"), trace.get("name")] for figure in figures for trace in figure["data"]]
    )
    assert not re.search(r"<(img|script)", shown)


@pytest.mark.usefixtures("_small")
def test_one_run_is_called_one_run(tmp_path: Path, comparison: Rows) -> None:
    text = Page(write_report(tmp_path, title="t", rows=comparison(1)).read_text(encoding="utf-8")).text
    assert "One run" in text
    assert "±" not in text.split("Setup")[0]
    assert "he teacher helps" not in text


@pytest.mark.usefixtures("_small")
def test_a_single_arm_on_validation(tmp_path: Path, comparison: Rows) -> None:
    rows = [replace(row, split="validation") for row in comparison(2) if row.arm == "paired"]
    text = Page(write_report(tmp_path, title="t", rows=rows).read_text(encoding="utf-8")).text
    assert "Nothing to compare with" in text
    assert "Results, validation" in text


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs result rows"):
        write_report(tmp_path, title="t", rows=[])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_small")
def test_a_comparison_of_a_regression_speaks_of_its_metric(tmp_path: Path, comparison: Rows) -> None:
    rows = [replace(row, metric="pearson", value=row.value - 0.7) for row in comparison()]
    curves = [{"arm": "paired", "control": "none", "seed": 0, "step": 1, "value": -0.25}]
    page = Page(write_report(tmp_path, title="t", rows=rows, curves=curves).read_text())
    assert "takes the student from -" in page.text
    assert "Pearson's r (%)" in page.text
    assert "ccuracy" not in page.text
    figures = [json.loads(script) for script in page.scripts if script.startswith("{")]
    bars, lines = figures[0]["layout"], figures[1]["layout"]
    assert bars["xaxis"]["range"][0] < -20
    assert lines["yaxis"]["range"] == [-25, 100]


def test_the_stages_of_a_chain_are_a_table(comparison: Rows, tmp_path: Path) -> None:
    facts = {"data": "blobs", "metric": "accuracy", "steps": 1200, "seconds": 3.14}
    stages = [
        {**facts, "stage": "teacher", "method": "supervised", "uses": {}, "scores": {"test": 0.915}},
        {
            **facts,
            "stage": EVIL,
            "method": "kd",
            "uses": {"teacher": "bank"},
            "scores": {"validation": None, "test": 0.5},
        },
    ]
    path = write_report(tmp_path, title="chain", rows=comparison(seeds=1), info={"stages": stages})
    page = Page(path.read_text(encoding="utf-8"))
    assert "Stages" in page.text
    assert "bank of teacher" in page.text
    assert all(word in page.text for word in ("91.5%", "50.0%", "1,200", "3.1", "–"))
    assert not [tag for tag, attrs in page.tags if tag == "img"]
