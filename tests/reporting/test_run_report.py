"""The report of one run shows its own result, and no headline about arms that nobody asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from limbeck.evaluation import Row
from limbeck.evaluation.results import write_metrics
from limbeck.reporting import report, report_folder

LOG = [
    {"step": 10, "loss": 2.0, "term/supervised": 1.0, "term/distillation": 3.0, "gradient_share/supervised": 0.25,
     "gradient_share/distillation": 0.75},
    {"step": 10, "eval_accuracy": 0.5},
    {"step": 20, "term/supervised": 0.5, "term/distillation": 2.0, "gradient_share/supervised": 0.5,
     "gradient_share/distillation": 0.5, "eval_accuracy": 0.7},
]  # fmt: skip


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(report, "_plotly_js", lambda: "/* plotly */")
    rows = [
        Row("kd", "kd", "paired", "none", 0, split, metric, value, 3.0, 20)
        for split, value in (("test", 0.75), ("validation", 0.7))
        for metric in ("accuracy", "macro_f1")
    ]
    confusion = {"split": "test", "names": ["cat", "<b>dog"], "counts": [[6, 2], [1, 3]]}
    write_metrics(tmp_path, rows, {"title": "kd on toys", "confusion": confusion, "warnings": ["mind this"]})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in LOG))
    return report_folder(tmp_path).read_text(encoding="utf-8")


def test_the_headline_is_the_run_s_own(page: str) -> None:
    assert "kd: accuracy 75.0% on test" in page
    assert "Nothing to compare" not in page
    assert "mind this" in page
    assert "Shares in per cent." in page
    assert "over seeds" not in page  # one run has no spread


def test_it_shows_classes_terms_and_shares(page: str) -> None:
    assert '<td class="number">75.0</td><td class="number">85.7</td>' in page  # 6 of 8 found, 6 of 7 right
    assert "&lt;b&gt;dog" in page
    figures = {
        name: json.loads(text)
        for name, text in re.findall(r'data-figure="figure-([\w-]+)">(.*?)</script>', page)
    }
    assert set(figures) == {"confusion", "curves", "term", "gradient-share"}
    assert [trace["name"] for trace in figures["gradient-share"]["data"]] == ["supervised", "distillation"]
    assert figures["curves"]["data"][0]["x"] == [10, 20]
