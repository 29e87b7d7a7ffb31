"""The tutorials run as printed, and their students have learnt something."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
RUNS = {"csv_and_photos": "products", "embeddings_and_recordings": "recordings"}

spec = importlib.util.spec_from_file_location("run_tutorials", FOLDER / "run.py")
assert spec is not None
assert spec.loader is not None
tutorials = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tutorials)


def test_each_tutorial_is_run():
    assert {path.stem for path in FOLDER.glob("*.md")} == set(RUNS)


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_a_tutorial_runs_as_printed(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "src"))
    tutorials.run(FOLDER / f"{name}.md", tmp_path)
    rows = json.loads((tmp_path / "runs" / RUNS[name] / "metrics.json").read_text())["rows"]
    test = {row["metric"]: row["value"] for row in rows if row["split"] == "test"}
    assert test["accuracy"] > 0.6  # a third by chance
