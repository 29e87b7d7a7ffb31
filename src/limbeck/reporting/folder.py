"""Rebuild the report of a run or a comparison from what lies in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limbeck.errors import DataError
from limbeck.evaluation.comparison import PLAN_FILE
from limbeck.evaluation.results import read_metrics
from limbeck.reporting.comparison_report import comparison_report
from limbeck.reporting.report import main_metric, write_report


def report_folder(folder: str | Path) -> Path:
    """Write ``report.html`` from what a run or a comparison left there, finished or not; returns its path.

    Raises: DataError when the folder holds no results.
    """
    folder = Path(folder)
    if (folder / PLAN_FILE).is_file():
        return comparison_report(folder)
    metrics = read_metrics(folder)
    info: dict[str, Any] = dict(metrics.info)
    home = folder / info.pop("run_folder", ".")  # of a chain, where its last stage ran
    metric = main_metric(metrics.rows, info)
    curves = [
        {"arm": arm, "control": control, "seed": seed, **point}
        for arm, control, seed in {(r.arm, r.control, r.seed) for r in metrics.rows}
        for point in _curve(home / "log.jsonl", metric.name)
    ]
    title = info.pop("title", "Results")
    return write_report(folder, title=title, rows=metrics.rows, curves=curves, info=info)


def _curve(log: Path, metric: str) -> list[dict[str, float]]:
    """The validation score over steps; a resumed run's repeated step counts once, as last written."""
    if not log.is_file():
        return []
    points: dict[int, float] = {}
    text = log.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a last line cut by an interruption says nothing
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{log}, line {number} is not JSON; delete that line.") from error
        score = entry.get(f"eval_{metric}")
        if score is not None:
            points[entry["step"]] = score
    return [{"step": step, "value": value} for step, value in sorted(points.items())]
