"""Rebuild the report of a run or a comparison from what lies in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.errors import DataError
from limbeck.evaluation.comparison import PLAN_FILE
from limbeck.evaluation.results import read_metrics
from limbeck.reporting.comparison_report import comparison_report
from limbeck.reporting.exports import exports_told
from limbeck.reporting.report import main_metric, write_report
from limbeck.reporting.run_report import is_one_run, write_run_report


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
    if exports := exports_told(folder):
        info["exports"] = exports
    metric = main_metric(metrics.rows, info)
    entries = _entries(home / "log.jsonl")
    curves = [
        {"arm": arm, "control": control, "seed": seed, **point}
        for arm, control, seed in {(r.arm, r.control, r.seed) for r in metrics.rows}
        for point in _curve(entries, metric.name)
    ]
    title = info.pop("title", "Results")
    if is_one_run(metrics.rows):
        return write_run_report(folder, title=title, rows=metrics.rows, curve=curves, log=entries, info=info)
    return write_report(folder, title=title, rows=metrics.rows, curves=curves, info=info)


def _entries(log: Path) -> list[dict[str, float]]:
    """What ``log.jsonl`` says of each step, in order; a resumed run's repeated step counts once, as last written."""
    if not log.is_file():
        return []
    entries: dict[float, dict[str, float]] = {}
    text = log.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a last line cut by an interruption says nothing
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line)
            step = entry["step"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise DataError(f"{log}, line {number} is no entry of a step; delete that line.") from error
        entries[step] = {**entries.get(step, {}), **entry}
    return [entry for _, entry in sorted(entries.items())]


def _curve(entries: Sequence[Mapping[str, float]], metric: str) -> list[dict[str, float]]:
    """The validation score over steps."""
    name = f"eval_{metric}"
    return [{"step": entry["step"], "value": entry[name]} for entry in entries if entry.get(name) is not None]
