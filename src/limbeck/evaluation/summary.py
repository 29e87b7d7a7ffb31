"""``compare.json``: the rows of a comparison and what follows from them, for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.evaluation.comparison import Comparison
from limbeck.evaluation.estimates import estimate, resampled_seeds, smallest_visible
from limbeck.evaluation.outcome import problem_of
from limbeck.evaluation.resampling import Items, RunId, Scored, resampled_items
from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.evaluation.statistics import (
    BASELINE,
    Gain,
    Verdict,
    arms_of,
    controls_of,
    values_by_seed,
    verdicts,
)
from limbeck.files import write_whole
from limbeck.problems.metric import Metric

SUMMARY_FILE = "compare.json"


class Judged(NamedTuple):
    """A comparison on one split by its deciding metric."""

    rows: list[Row]
    split: str
    metric: Metric
    items: Items | None
    verdicts: dict[str, Verdict]


def deciding_metric(comparison: Comparison) -> Metric:
    """What the student is judged by."""
    for outcome in comparison.outcomes.values():
        if outcome.metrics:
            return Metric(**outcome.metrics[0])
    rows = comparison.rows
    return Metric(rows[0].metric) if rows else Metric("accuracy")


def judged(comparison: Comparison, split: str = "test") -> Judged:
    """Verdicts from the seeds that every arm has finished.

    Raises: DataError without such a seed.
    """
    rows, metric = comparison.rows, deciding_metric(comparison)
    if rows and not any(row.split == split for row in rows):  # data without a test
        split = rows[0].split
    items = kept_items(comparison, split, metric)
    return Judged(rows, split, metric, items, verdicts(rows, split=split, metric=metric, items=items))


def kept_items(comparison: Comparison, split: str, metric: Metric) -> Items | None:
    """Draws of the test items; None where the runs kept none."""
    scored = {
        RunId(*cell[:3]): Scored(outcome.items[split], outcome.data.get(split, ""))
        for cell, outcome in comparison.outcomes.items()
        if split in outcome.items
    }
    problem = next((problem_of(outcome) for outcome in comparison.outcomes.values()), None)
    return resampled_items(scored, problem, metric) if scored and problem is not None else None


def summary(found: Judged) -> list[dict[str, Any]]:
    """One entry for each arm and control: ``arm, method, control, mean, sd, gain, low, high, p, p_holm, verdict``, and
    ``items_low, items_high`` (the interval over test items), ``smallest_visible``, ``bca_low, bca_high, p_wilcoxon``
    (from ten seeds), ``over`` (the gain over each control), ``n_seeds``."""
    methods = {(row.arm, row.control): row.method for row in found.rows}
    entries = []
    for arm in arms_of(found.rows):
        verdict = found.verdicts.get(arm)
        for control in (NO_CONTROL, *controls_of(found.rows, arm)):
            values = values_by_seed(found.rows, arm, control, split=found.split, metric=found.metric)
            if not values or verdict is None:
                continue
            own = control == NO_CONTROL
            gain = verdict.gain if own else _control_gain(found, arm, control)
            mean = estimate(values)
            entries.append(
                {
                    "arm": arm,
                    "method": methods[arm, control],
                    "control": control,
                    "mean": mean.mean,
                    "sd": mean.sd,
                    "n_seeds": mean.n,
                    **_gain_facts(gain),
                    "p_holm": verdict.p_gain if own else None,
                    "p_holm_teacher": verdict.p_teacher if own else None,
                    "verdict": _verdict(verdict, gain, own=own),
                    "sentence": verdict.sentence if own else "",
                    "over": {c: _gain_facts(g) for c, g in verdict.over_control.items()} if own else {},
                }
            )
    return entries


def write_summary(comparison: Comparison) -> Path:
    """Write ``compare.json`` whole; returns its path."""
    found = judged(comparison)
    content = {
        "split": found.split,
        "metric": asdict(found.metric),
        "rows": [asdict(row) for row in found.rows],
        "summary": summary(found),
        "missing": [str(cell) for cell in comparison.missing],
        "info": dict(comparison.info),
    }
    path = comparison.folder / SUMMARY_FILE
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def finals(rows: Sequence[Row]) -> list[str]:
    """Splits that are told: the final ones, ``test`` first; any other only where there is none."""
    found = list(dict.fromkeys(row.split for row in rows if row.split != "train"))
    final = sorted((split for split in found if split.startswith("test")), key=lambda split: split != "test")
    return final or found[:1]


def _control_gain(found: Judged, arm: str, control: str) -> Gain | None:
    for verdict in found.verdicts.values():
        if control in verdict.control_gain and arm in (verdict.arm, BASELINE):
            return verdict.control_gain[control]
    return None


def _verdict(verdict: Verdict, gain: Gain | None, *, own: bool) -> str | None:
    """Of an arm its own; of a control what its gain alone says: whatever helps there is not the teacher."""
    if own:
        return None if verdict.kind in ("baseline", "no_baseline") else verdict.kind
    if gain is None:
        return None
    if gain.seeds.p is None:
        return "one_run"
    return {"better": "distillation_helps", "worse": "hurts", "neither": "no_gain_seen"}[gain.seen()]


def _gain_facts(gain: Gain | None) -> dict[str, Any]:
    seeds = gain.seeds if gain else None
    items = gain.items if gain and gain.items else (None, None)
    more = resampled_seeds(seeds) if seeds else None
    return {
        "gain": seeds.mean if seeds else None,
        "low": seeds.low if seeds else None,
        "high": seeds.high if seeds else None,
        "p": seeds.p if seeds else None,
        "items_low": items[0],
        "items_high": items[1],
        "smallest_visible": smallest_visible(seeds) if seeds else None,
        "bca_low": more.low if more else None,
        "bca_high": more.high if more else None,
        "p_wilcoxon": more.p if more else None,
    }
