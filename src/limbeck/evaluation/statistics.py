"""Is there a gain, and is it the teacher's? Statistics over seeds, and the sentence that follows from them.

Arms of one comparison share their seeds (same initial weights, labelled subset and batch order), so gains are
differences *within* a seed and their interval is the t interval of those differences. When several arms are
judged at once, p values are corrected by Holm's step-down procedure, so that the chance of any false claim
in the table stays at 5%. "The gain is the teacher's" needs two things to hold, a gain over the baseline and a
gain over every control, so its p value is the larger of theirs (an intersection-union test), corrected alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limbeck.errors import DataError, UnknownNameError, nearest, some
from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.problems.metric import Metric, metric_named

BASELINE = "supervised"
CONFIDENCE = 0.95
ENOUGH_SEEDS = 5

Kind = Literal[
    "baseline", "teacher", "not_teacher", "no_control", "no_gain", "hurts", "one_run", "no_baseline"
]


@dataclass(frozen=True)
class Estimate:
    """Mean of ``n`` values, one per seed; from one run there is neither a spread nor an interval.

    Args:
        mean: in the unit of the metric.     sd: sample standard deviation (n - 1), None for one value.
        low, high: 95% t interval of the mean, None for one value.
        p: two-sided p value of "the mean is 0" (a paired t test when the values are differences).
        values: seed to value.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    values: Mapping[int, float]

    @property
    def n(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Verdict:
    """What may be said of an arm.

    Args:
        kind: ``teacher`` (the gain is the teacher's), ``not_teacher`` (a gain that the controls explain, or
            may explain), ``no_control`` (a gain without a control run), ``no_gain``, ``hurts``, ``one_run``,
            ``baseline``, ``no_baseline``.
        sentence: the same in words, with the numbers.
        gain: over the baseline, paired over seeds.
        over_control: control name to the arm's gain over that control.
        control_gain: control name to the control's own gain over the baseline.
        p_gain, p_teacher: Holm-corrected p values of "gain" and of "the gain is the teacher's".
    """

    arm: str
    kind: Kind
    sentence: str
    gain: Estimate | None
    over_control: Mapping[str, Estimate]
    control_gain: Mapping[str, Estimate]
    p_gain: float | None = None
    p_teacher: float | None = None


def estimate(values: Mapping[int, float]) -> Estimate:
    """Mean, spread, 95% t interval and p value of one value per seed.

    Raises: DataError when there is no value.
    """
    if not values:
        raise DataError("There is no value to average; run at least one seed.")
    n = len(values)
    mean = math.fsum(values.values()) / n
    if n == 1:
        return Estimate(mean, None, None, None, None, dict(values))
    from scipy import stats

    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values.values()) / (n - 1))
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    if error > 1e-12:
        p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    else:  # equal values: the interval is a point and the test statistic infinite or 0/0
        p = 0.0 if abs(mean) > 1e-12 else 1.0
    return Estimate(mean, sd, mean - half, mean + half, p, dict(values))


def paired_gain(
    arm: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    names: str = "the arms",
    metric: str | Metric = "accuracy",
) -> Estimate:
    """Gain of ``arm`` over ``baseline``, both seed to value: by how much it is better within each seed.

    Raises: DataError when the seeds are not the same; ``names`` says whose.
    """
    if set(arm) != set(baseline):
        lacking = some(sorted(set(arm) ^ set(baseline)))
        raise DataError(
            f"Gains are paired over seeds, but {names} do not share theirs: seed {lacking} was run for only "
            "one of them; run the missing seeds."
        )
    better = metric_named(metric).gain
    return estimate({seed: better(arm[seed], baseline[seed]) for seed in sorted(arm)})


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p values to compare with 0.05 when all are judged together.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def arms_of(rows: Iterable[Row]) -> list[str]:
    """Arm names in order of appearance, the baseline first."""
    names = list(dict.fromkeys(row.arm for row in rows))
    return sorted(names, key=lambda name: name != BASELINE)


def controls_of(rows: Iterable[Row], arm: str) -> list[str]:
    """Names of the controls that were run for ``arm``, without ``none``."""
    return [c for c in dict.fromkeys(row.control for row in rows if row.arm == arm) if c != NO_CONTROL]


def values_by_seed(
    rows: Iterable[Row],
    arm: str,
    control: str = NO_CONTROL,
    *,
    split: str = "test",
    metric: str | Metric = "accuracy",
) -> dict[int, float]:
    """Seed to value of one arm, empty if it was not run.

    Raises: DataError when a seed was measured twice.
    """
    name = metric_named(metric).name
    wanted = (arm, control, split, name)
    values: dict[int, float] = {}
    for row in rows:
        if (row.arm, row.control, row.split, row.metric) != wanted:
            continue
        if row.seed in values:
            raise DataError(
                f"Arm {arm!r} (control {control!r}) has two values of {name!r} for seed {row.seed}."
            )
        values[row.seed] = row.value
    return dict(sorted(values.items()))


def verdicts(
    rows: Sequence[Row], *, split: str = "test", metric: str | Metric = "accuracy"
) -> dict[str, Verdict]:
    """Arm to verdict; a gain is what is better, whichever way the metric goes.

    Raises: DataError for arms that do not share their seeds, or for a split and metric without rows.
    """
    rows = _of_split(rows, split, metric)
    metric = metric_named(metric)
    at: dict[str, Any] = {"split": split, "metric": metric}
    base = values_by_seed(rows, BASELINE, **at)
    compared: dict[str, Verdict] = {}
    for arm in arms_of(rows):
        own = values_by_seed(rows, arm, **at)
        kind: Kind = "baseline" if arm == BASELINE else "no_baseline"
        if arm == BASELINE or not base or not own:
            compared[arm] = Verdict(arm, kind, _plain_sentence(arm, kind), None, {}, {})
            continue
        controls = {c: values_by_seed(rows, arm, c, **at) for c in controls_of(rows, arm)}
        compared[arm] = Verdict(
            arm,
            "no_gain",
            "",
            paired_gain(own, base, names=f"{arm!r} and {BASELINE!r}", metric=metric),
            {
                c: paired_gain(own, v, names=f"{arm!r} and its {c} control", metric=metric)
                for c, v in controls.items()
            },
            {
                c: paired_gain(v, base, names=f"the {c} control of {arm!r} and {BASELINE!r}", metric=metric)
                for c, v in controls.items()
            },
        )
    return _judge(compared, metric)


def cautions(rows: Sequence[Row], *, split: str = "test", metric: str | Metric = "accuracy") -> list[str]:
    """What a reader of the numbers should know: too few seeds, seeds without effect, missing controls."""
    rows = _of_split(rows, split, metric)
    found = []
    n = len({row.seed for row in rows})
    if n == 1:
        found.append(
            "One run: there is no interval and no verdict; run at least 5 seeds before quoting a gain."
        )
    elif n < ENOUGH_SEEDS:
        found.append(
            f"{n} seeds: intervals from fewer than 5 are wide and lean on the normal law; run 5 or more."
        )
    for arm in arms_of(rows):
        values = values_by_seed(rows, arm, split=split, metric=metric)
        if len(values) > 1 and len(set(values.values())) == 1:
            found.append(f"Every seed of {arm!r} gave the same value; check that the seed reaches the run.")
        if arm != BASELINE and not controls_of(rows, arm):
            found.append(f"{arm!r} has no control, so whether a gain is its teacher's cannot be said.")
    return found


def _of_split(rows: Sequence[Row], split: str, metric: str | Metric) -> list[Row]:
    metric = metric_named(metric).name
    chosen = [row for row in rows if row.split == split and row.metric == metric]
    if chosen:
        return chosen
    if not rows:
        raise DataError("There are no result rows; run a comparison first.")
    present = {f"{row.split}/{row.metric}" for row in rows}
    raise UnknownNameError(f"No row holds {split}/{metric}; {nearest(f'{split}/{metric}', present)}")


def _judge(compared: dict[str, Verdict], metric: Metric) -> dict[str, Verdict]:
    """Correct the p values over all arms that have them, then say what follows."""
    tested = [v for v in compared.values() if v.gain is not None and v.gain.p is not None]
    claims = [v for v in tested if v.over_control]
    p_gain = dict(zip((v.arm for v in tested), holm([_p(v.gain) for v in tested])))
    p_both = [max(_p(v.gain), *(_p(g) for g in v.over_control.values())) for v in claims]
    p_teacher = dict(zip((v.arm for v in claims), holm(p_both)))
    judged = {}
    for arm, v in compared.items():
        if v.gain is None:
            judged[arm] = v
            continue
        kind, sentence = _say(v, p_gain.get(arm), p_teacher.get(arm), len(tested), metric)
        judged[arm] = Verdict(
            arm, kind, sentence, v.gain, v.over_control, v.control_gain, p_gain.get(arm), p_teacher.get(arm)
        )
    return judged


def _p(gain: Estimate | None) -> float:
    assert gain is not None
    assert gain.p is not None
    return gain.p


def _say(
    v: Verdict, p_gain: float | None, p_teacher: float | None, n_arms: int, metric: Metric
) -> tuple[Kind, str]:
    assert v.gain is not None
    start = f"{v.arm}: {points(v.gain, metric)} over {BASELINE}"
    if p_gain is None:
        return "one_run", f"{start} in one run; without more seeds nothing can be concluded."
    alpha = 1 - CONFIDENCE
    if p_gain >= alpha:
        why = f" after Holm's correction for {n_arms} arms" if _p(v.gain) < alpha else ""
        small = v.gain.mean < metric.negligible
        rest = "as measured, this teaching does not help" if small else "more seeds may tell"
        return "no_gain", f"{start}: no gain shown{why}; {rest}."
    if v.gain.mean < 0:
        return "hurts", f"{start}: this teaching hurts."
    if p_teacher is None:
        return "no_control", f"{start}, but no control was run, so whose gain it is cannot be said."
    worst, over = min(v.over_control.items(), key=lambda item: item[1].mean)
    beside = f"{points(over, metric)} over its {worst} control"
    control = v.control_gain[worst]
    gains_too = control.low is not None and control.low > 0
    if p_teacher < alpha and over.mean > 0:
        rest = (
            f" (the control gains {points(control, metric)} too, only the rest is the teacher's)"
            if gains_too
            else ""
        )
        return "teacher", f"{start} and {beside}: the gain is the teacher's{rest}."
    if gains_too:
        return (
            "not_teacher",
            f"{start}, but its {worst} control gains {points(control, metric)} too: not the teacher's.",
        )
    return "not_teacher", f"{start}, but only {beside}: not shown to be the teacher's."


def _plain_sentence(arm: str, kind: Kind) -> str:
    if kind == "baseline":
        return f"{arm}: the same student taught by nobody."
    return f"{arm}: nothing to compare with; run the arm {BASELINE!r} over the same seeds."


def points(gain: Estimate, metric: str | Metric = "accuracy") -> str:
    """A gain with its interval: ``+39.2 points [+32.9, +45.6]`` of a share."""
    return metric_named(metric).points(gain.mean, gain.low, gain.high)
