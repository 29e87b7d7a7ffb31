"""Is there a gain, and is it the teacher's? The decision, and the sentence that follows from it.

Arms of one comparison share their seeds (same initial weights, labelled subset and batch order), so gains are
differences *within* a seed. A gain is claimed only if two intervals exclude 0: the t interval of the differences over
seeds, and the interval from resampled test items, which all seeds share. When several arms are judged at once, p
values are corrected by Holm's step-down procedure, so that the chance of any false claim in the table stays at 5%.
"The teacher helps" needs a gain over the student without a teacher and over *every* control, so its p value is the
largest of theirs (an intersection-union test), corrected alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from limbeck.errors import DataError, UnknownNameError, nearest
from limbeck.evaluation.estimates import CONFIDENCE, Estimate, holm, paired_gain
from limbeck.evaluation.resampling import FEWEST_ITEMS, Items
from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.problems.metric import Metric, metric_named

BASELINE = "supervised"
ENOUGH_SEEDS = 5

Kind = Literal[
    "baseline", "teacher_helps", "distillation_helps", "no_gain_seen", "hurts", "one_run", "no_baseline"
]


@dataclass(frozen=True)
class Gain:
    """A paired difference: over seeds, and over resampled test items.

    Args:
        seeds: with its t interval and p value.    items: 95% interval over items; None where none were kept or
            there are too few.
    """

    seeds: Estimate
    items: tuple[float, float] | None = None
    lacks_items: bool = False  # items were kept, too few to draw from

    @property
    def mean(self) -> float:
        return self.seeds.mean

    def seen(self, p: float | None = None) -> Literal["better", "worse", "neither"]:
        """What both intervals say; ``p``: after correction, in place of the seeds' own."""
        p = self.seeds.p if p is None else p
        if p is None or p >= 1 - CONFIDENCE or self.lacks_items:
            return "neither"
        low, high = self.items or (self.mean, self.mean)
        if self.mean > 0 and low > 0:
            return "better"
        return "worse" if self.mean < 0 and high < 0 else "neither"


@dataclass(frozen=True)
class Verdict:
    """What may be said of an arm.

    Args:
        kind: ``teacher_helps`` (better than the student without a teacher and than every control),
            ``distillation_helps`` (better than the student without a teacher, but a control explains that, may explain
            it, or none was run), ``no_gain_seen``, ``hurts``, ``one_run``; ``baseline``, ``no_baseline``.
        sentence: the same in words, with the numbers.
        gain: over the baseline.
        over_control: control name to the arm's gain over that control, those of the baseline (``label_smoothing``)
            among them.
        control_gain: control name to the control's own gain over the baseline.
        p_gain, p_teacher: Holm-corrected p values of "a gain" and of "the teacher helps".
    """

    arm: str
    kind: Kind
    sentence: str
    gain: Gain | None
    over_control: Mapping[str, Gain]
    control_gain: Mapping[str, Gain]
    p_gain: float | None = None
    p_teacher: float | None = None


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
    rows: Sequence[Row], *, split: str = "test", metric: str | Metric = "accuracy", items: Items | None = None
) -> dict[str, Verdict]:
    """Arm to verdict; a gain is what is better, whichever way the metric goes.

    Args:
        items: draws of the test items of these runs; without them the seeds alone decide.

    Raises: DataError for arms that do not share their seeds, or for a split and metric without rows.
    """
    table = _Table(_of_split(rows, split, metric), split, metric_named(metric), items)
    compared: dict[str, Verdict] = {}
    for arm in arms_of(rows):
        if arm == BASELINE or not table.values(BASELINE) or not table.values(arm):
            kind: Kind = "baseline" if arm == BASELINE else "no_baseline"
            compared[arm] = Verdict(arm, kind, _plain_sentence(arm, kind), None, {}, {})
        else:
            compared[arm] = table.compared(arm)
    return _judge(compared, table.metric)


@dataclass(frozen=True)
class _Table:
    """The values of one split and metric."""

    rows: Sequence[Row]
    split: str
    metric: Metric
    items: Items | None

    def values(self, arm: str, control: str = NO_CONTROL) -> dict[int, float]:
        return values_by_seed(self.rows, arm, control, split=self.split, metric=self.metric)

    def gain(self, arm: tuple[str, str], other: tuple[str, str]) -> Gain:
        """Of one run over another, arm and control each."""
        seeds = paired_gain(
            self.values(*arm),
            self.values(*other),
            names=f"{_called(*arm)} and {_called(*other)}",
            metric=self.metric,
            step=self.items.step if self.items else 0.0,
        )
        if self.items is None:
            return Gain(seeds)
        found = self.items.interval(arm, other, list(seeds.values))
        return Gain(seeds, found, lacks_items=found is None)

    def compared(self, arm: str) -> Verdict:
        """Its gains, not yet judged."""
        own, base = (arm, NO_CONTROL), (BASELINE, NO_CONTROL)
        controls = {c: (arm, c) for c in controls_of(self.rows, arm)}
        controls |= {c: (BASELINE, c) for c in controls_of(self.rows, BASELINE)}
        return Verdict(
            arm,
            "no_gain_seen",
            "",
            self.gain(own, base),
            {c: self.gain(own, run) for c, run in controls.items()},
            {c: self.gain(run, base) for c, run in controls.items()},
        )


def _called(arm: str, control: str) -> str:
    return repr(arm) if control == NO_CONTROL else f"the {control} control of {arm!r}"


def cautions(
    rows: Sequence[Row],
    *,
    split: str = "test",
    metric: str | Metric = "accuracy",
    items: Items | None = None,
) -> list[str]:
    """What a reader of the numbers should know: too few seeds or items, seeds without effect, missing controls."""
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
    fewest = min(items.n.values()) if items and items.n else FEWEST_ITEMS
    if fewest < FEWEST_ITEMS:
        found.append(
            f"{fewest} test item{'s' * (fewest != 1)}: fewer than {FEWEST_ITEMS} say nothing of others, so nothing is "
            "claimed; test on more."
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
    tested = [v for v in compared.values() if v.gain is not None and v.gain.seeds.p is not None]
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


def _p(gain: Gain | None) -> float:
    assert gain is not None
    assert gain.seeds.p is not None
    return gain.seeds.p


def _say(
    v: Verdict, p_gain: float | None, p_teacher: float | None, n_arms: int, metric: Metric
) -> tuple[Kind, str]:
    assert v.gain is not None
    start = f"{v.arm}: {points(v.gain, metric)} over {BASELINE}"
    if p_gain is None:
        return "one_run", f"{start} in one run; without more seeds nothing can be concluded."
    seen = v.gain.seen(p_gain)
    if seen == "neither":
        return "no_gain_seen", f"{start}: no gain seen{_why_not(v.gain, p_gain, n_arms, metric)}."
    if seen == "worse":
        return "hurts", f"{start}: this teaching hurts."
    if p_teacher is None:
        return "distillation_helps", f"{start}, but no control was run, so whose gain it is cannot be said."
    worst, over = min(v.over_control.items(), key=lambda item: item[1].mean)
    control, worst = v.control_gain[worst], worst.replace("_", " ")
    beside = f"{points(over, metric)} over its {worst} control"
    gains_too = control.seen() == "better"
    if p_teacher < 1 - CONFIDENCE and all(g.seen(p_teacher) == "better" for g in v.over_control.values()):
        rest = (
            f" (the control gains {points(control, metric)} too, only the rest is the teacher's)"
            if gains_too
            else ""
        )
        return "teacher_helps", f"{start} and {beside}: the teacher helps{rest}."
    if gains_too:
        return (
            "distillation_helps",
            f"{start}, but its {worst} control gains {points(control, metric)} too: not the teacher's.",
        )
    return "distillation_helps", f"{start}, but only {beside}: not shown to be the teacher's."


def _why_not(gain: Gain, p_gain: float, n_arms: int, metric: Metric) -> str:
    """What stands between the numbers and a claim."""
    alpha = 1 - CONFIDENCE
    if gain.lacks_items:
        return f" on fewer than {FEWEST_ITEMS} test items"
    if p_gain < alpha and gain.items is not None:
        low, high = gain.items
        return f", since other test items may not show it [{metric.signed(low)}, {metric.signed(high)}]"
    why = f" after Holm's correction for {n_arms} arms" if _p(gain) < alpha else ""
    small = gain.mean < metric.negligible
    return f"{why}; {'as measured, this teaching does not help' if small else 'more seeds may tell'}"


def _plain_sentence(arm: str, kind: Kind) -> str:
    if kind == "baseline":
        return f"{arm}: the same student taught by nobody."
    return f"{arm}: nothing to compare with; run the arm {BASELINE!r} over the same seeds."


def points(gain: Gain | Estimate, metric: str | Metric = "accuracy") -> str:
    """A gain with its interval over seeds: ``+39.2 points [+32.9, +45.6]`` of a share."""
    found = gain.seeds if isinstance(gain, Gain) else gain
    return metric_named(metric).points(found.mean, found.low, found.high)
