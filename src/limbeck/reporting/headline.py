"""A comparison in one sentence, and what to say of the other arms."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.evaluation.estimates import estimate
from limbeck.evaluation.results import Row
from limbeck.evaluation.statistics import BASELINE, Kind, Verdict, points, values_by_seed
from limbeck.problems.metric import Metric, metric_named

_OTHERS: dict[Kind, str] = {
    "teacher_helps": "The teacher also helps in {arms}.",
    "distillation_helps": "A gain that is not shown to be the teacher's: {arms}.",
    "no_gain_seen": "No gain seen: {arms}.",
    "hurts": "Worse than without a teacher: {arms}.",
}


def headline(
    judged: Sequence[Verdict], rows: Sequence[Row], *, split: str = "test", metric: str | Metric = "accuracy"
) -> tuple[str, str]:
    """The finding of a comparison, and a line on the arms it does not name (empty when there is none).

    The largest gain that is its teacher's leads; without one the sentence says so.
    """
    gains = [(v.gain.mean, v) for v in judged if v.gain is not None]
    leading = [(gain, v) for gain, v in gains if v.kind in ("teacher_helps", "one_run")]
    best = max(leading, key=lambda item: item[0])[1] if leading else None
    return _finding(best, bool(gains), rows, split, metric_named(metric)), _others(judged, best)


def _finding(best: Verdict | None, has_gains: bool, rows: Sequence[Row], split: str, metric: Metric) -> str:
    if best is None or best.gain is None:
        if has_gains:
            return "In no arm was the teacher seen to help."
        return f"Nothing to compare with: the arm “{BASELINE}” or a taught arm is missing."
    reached = estimate(values_by_seed(rows, best.arm, split=split, metric=metric)).mean
    base = estimate(values_by_seed(rows, BASELINE, split=split, metric=metric)).mean
    finding = f"“{best.arm}” takes the student from {metric.text(base)} to {metric.text(reached)}"
    if best.kind == "one_run":
        return f"In one run, {finding} ({points(best.gain, metric)}); a verdict needs more seeds."
    return f"The teacher helps: {finding}, {points(best.gain, metric)}, more than any of its controls."


def _others(judged: Sequence[Verdict], best: Verdict | None) -> str:
    sentences = []
    for kind, words in _OTHERS.items():
        arms = [v.arm for v in judged if v.kind == kind and v is not best]
        if arms:
            sentences.append(words.format(arms=", ".join(arms)))
    return " ".join(sentences)
