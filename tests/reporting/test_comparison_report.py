"""The report of a comparison: everything that was kept is shown, what is missing is said, and nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.evaluation import Arm, Comparison, Outcome, Row, run_arms
from limbeck.evaluation.cost import Cost
from limbeck.problems import Classification
from limbeck.problems.base import Bare
from limbeck.problems.classification import numbered
from limbeck.reporting import feature_map, report, report_folder
from limbeck.reporting.paper_tables import LATEX_FILE, MARKDOWN_FILE

EVIL = "<script>alert(1)</script>"
NAMES = (EVIL, "b & c", "pipe | underscore_")
PROBLEM = Classification(NAMES)
ARMS = [
    Arm("supervised", ("label_smoothing",)),
    Arm("kd", ("shuffled", "random")),
    Arm(EVIL, ("shuffled",)),
]
RIGHT = {("kd", "none"): 0.9, (EVIL, "none"): 0.6}


def outcome(arm: str, control: str, seed: int, *, n: int = 120) -> Outcome:
    """Answers that are right as often as the arm deserves."""
    g = torch.Generator().manual_seed(hash((len(arm), control, seed)) % 2**31)
    true = torch.arange(n) % 2  # the third class has no test row
    right = torch.rand(n, generator=g) < RIGHT.get((arm, control), 0.5) + 0.01 * seed
    logits = 3.0 * torch.eye(3)[torch.where(right, true, 1 - true)] + 0.5 * torch.randn(n, 3, generator=g)
    kept = PROBLEM.statistics(Bare(logits), numbered(true))
    link = "none" if arm == "supervised" else "paired"
    rows = [
        Row(arm, "kd", link, control, seed, "test", name, value, 2.0, 30)
        for name, value in PROBLEM.scores(kept).items()
    ]
    y = torch.arange(30) % 3
    features = {
        side: torch.randn(30, 4, generator=g) for side in ("teacher", "student before", "student after")
    }
    pictures: dict[str, Any] = {}
    if arm != "supervised" and control == "none" and seed == 0:
        pictures["map"] = feature_map(features, y, class_names=NAMES)
        shares = torch.softmax(torch.randn(3, 3, generator=g), -1).mul(100).tolist()
        pictures["plan"] = {
            "shares": shares,
            "student": list(NAMES),
            "teacher": list(NAMES),
            "caption": "A plan.",
        }
    return Outcome(
        rows,
        items={"test": kept},
        data={"train": "d", "test": "e"},
        problem={**PROBLEM.spec(), "names": list(NAMES)},
        metrics=[asdict(metric) for metric in PROBLEM.metrics],
        curve=[(10, 0.4), (20, 0.5), (30, 0.6)],
        warnings=[EVIL] if arm == "kd" else [],
        cost=Cost(2.5, 2.0, 300.0, 0.0, 0 if arm == "supervised" else 500),
        pictures=pictures,
        facts={"data": {"origin": EVIL, "speakers": [f"s{i}" for i in range(40)]}},
    )


def made(folder: Path, *, limit: int = 1000, seeds: int = 5) -> Comparison | None:
    """A finished comparison, or one that was interrupted after ``limit`` runs."""
    left = iter(range(limit))

    def run(arm: Arm, control: str, seed: int, _: Path) -> Outcome:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return outcome(arm.name, control, seed)

    info = {
        "title": EVIL,
        "command": f"limbeck compare --title '{EVIL}'",
        "given": {"kd": EVIL},
        "arms": {"kd": {"method.name": "kd"}, "supervised": {}},
        "recipe": {"method": {"name": EVIL}},
        "versions": {"limbeck": "0"},
    }
    try:
        return run_arms(ARMS, run, range(seeds), output=folder, info=info, show_progress=False)
    except KeyboardInterrupt:
        return None


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the 5 MB drawing library out, for tests of everything else."""
    monkeypatch.setattr(report, "_plotly_js", lambda: "/* plotly */")


def page_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_small")
def test_everything_that_was_kept_is_shown(tmp_path: Path) -> None:
    made(tmp_path)
    page = page_of(report_folder(tmp_path))
    for text in (
        "The teacher helps: “kd” takes the student from",
        "label smoothing",
        "Gains beside their controls",
        "With these 5 seeds you can see gains over",
        "Learning curves",
        "Class by class",
        "Classes without a test row: pipe | underscore_",
        "How sure, how right",
        "What teacher and student see",
        "What the transport plan joins",
        "Brier score",
        "Teacher calls",
        "All runs together took 1.5 minutes.",
        "Fingerprints of the data",
        "The command",
        "and 28 more",
        "kd: method.name = &quot;kd&quot;",
        "Save as SVG",
    ):
        assert text in page, text
    figures = [
        json.loads(part.partition(">")[2].partition("</script>")[0])
        for part in page.split("<script type=")[1:]
    ]
    assert len(figures) == 10  # forest, bars, curves, reliability; confusions, map and plan of two arms
    forest = figures[0]
    assert [html_free(name) for name in forest["layout"]["yaxis"]["ticktext"]] == [
        "label smoothing", "kd", "kd, shuffled", "kd, random", EVIL, f"{EVIL}, shuffled"[:25] + "…",
    ]  # fmt: skip


def html_free(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.usefixtures("_small")
def test_names_stay_text(tmp_path: Path) -> None:
    made(tmp_path)
    page = page_of(report_folder(tmp_path))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(("limit", "texts"), [
    (0, ["Nothing can be compared yet", "35 of 35 runs are missing"]),
    (3, ["Nothing can be compared yet", "32 of 35 runs are missing", "Runs so far"]),
    (14, ["21 of 35 runs are missing", "of the seeds that are complete (0, 1)", "Results, test"]),
])  # fmt: skip
def test_an_unfinished_one_says_what_is_missing(tmp_path: Path, limit: int, texts: list[str]) -> None:
    made(tmp_path, limit=limit)
    page = page_of(report_folder(tmp_path))
    for text in texts:
        assert text in page, text


@pytest.mark.usefixtures("_small")
def test_the_diagnosis_stands_beside_what_came(tmp_path: Path) -> None:
    made(tmp_path)
    told = {
        "sentence": f"The teacher helps: {EVIL}.",
        "method": "kd",
        "expectation": {"gain": {"estimate": 0.2, "low": 0.1, "high": 0.3}},
    }
    (tmp_path / "diagnosis.json").write_text(json.dumps(told))
    page = page_of(report_folder(tmp_path))
    assert "Expected before training: The teacher helps: &lt;script&gt;" in page
    assert "(+20.0 points [+10.0, +30.0])" in page
    (tmp_path / "diagnosis.json").write_text("{")
    assert "diagnosis.json cannot be read" in page_of(report_folder(tmp_path))


@pytest.mark.usefixtures("_small")
def test_tables_for_papers(tmp_path: Path) -> None:
    made(tmp_path)
    report_folder(tmp_path)
    markdown = (tmp_path / MARKDOWN_FILE).read_text().splitlines()
    assert markdown[0] == "| arm | link | Accuracy (%) | gain [95%] | controls' gains | verdict |"
    assert {line.count("|") for line in markdown} == {7}
    latex = (tmp_path / LATEX_FILE).read_text()
    assert r"Accuracy (\%)" in latex
    assert r"$\pm$" in latex
    assert latex.count(r"\\") == 4


# ---- in a browser ------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_without_errors(
    tmp_path: Path, chromium: Callable[..., str], width: int, scheme: str
) -> None:
    """Every figure that is not folded is drawn, nothing overflows, and the console stays silent."""
    made(tmp_path)
    path = report_folder(tmp_path)
    assert path.stat().st_size < 6_000_000
    probe = (
        "<script>window.problems=[];window.onerror=(m)=>{problems.push(m)};"
        "console.error=(m)=>{problems.push(String(m))};"
        "window.addEventListener('load',()=>setTimeout(()=>{document.title=JSON.stringify({problems,"
        "drawn:document.querySelectorAll('.js-plotly-plot .main-svg').length>0,"
        "undrawn:[...document.querySelectorAll('.figure')].filter(f=>f.clientWidth&&!f.querySelector('svg')).length,"
        "wide:document.documentElement.scrollWidth-window.innerWidth,"
        "dark:matchMedia('(prefers-color-scheme: dark)').matches})},12000))</script>"
    )
    watched = tmp_path / "watched.html"
    watched.write_text(page_of(path).replace("<head>", f"<head>{probe}", 1), encoding="utf-8")
    found = json.loads(chromium(watched, width, scheme))
    assert found["problems"] == []
    assert found["drawn"]
    assert found["undrawn"] == 0
    assert found["wide"] <= 0
    assert found["dark"] is (scheme == "dark")
