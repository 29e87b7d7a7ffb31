"""Means, paired differences and their intervals: what can be said of one value a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limbeck.errors import DataError, some
from limbeck.problems.metric import Metric, metric_named

CONFIDENCE = 0.95
NO_SPREAD = 1e-12  # what rounding leaves of equal values
POWER = 0.8  # with which the smallest difference that can be seen would be seen
ENOUGH_FOR_RESAMPLING = (
    10  # seeds; from 5 a BCa interval excludes 0 on about 18% of data without any difference
)


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
class Resampled:
    """What ten and more seeds allow besides: a BCa interval of the mean, and Wilcoxon's signed-rank p value."""

    low: float
    high: float
    p: float


def estimate(values: Mapping[int, float], *, step: float = 0.0) -> Estimate:
    r"""Mean, spread, 95% t interval and p value of one value per seed.

    Args:
        step: the metric moves in steps of this size (1/n for a share of n test items). The standard error is not taken
            to be below that of rounding, :math:`step / \sqrt{12 n}`: a few seeds that agree on so coarse a scale do
            not prove that there is no spread.

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
    error = max(sd, step / math.sqrt(12)) / math.sqrt(n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    if error > NO_SPREAD:
        p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    else:  # equal values: the interval is a point and the test statistic infinite or 0/0
        p = 0.0 if abs(mean) > NO_SPREAD else 1.0
    return Estimate(mean, sd, mean - half, mean + half, p, dict(values))


def paired_gain(
    arm: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    names: str = "the arms",
    metric: str | Metric = "accuracy",
    step: float = 0.0,
) -> Estimate:
    """Gain of ``arm`` over ``baseline``, both seed to value: by how much it is better within each seed.

    Args:
        step: as in :func:`estimate`.

    Raises: DataError when the seeds are not the same; ``names`` says whose.
    """
    if set(arm) != set(baseline):
        lacking = some(sorted(set(arm) ^ set(baseline)))
        raise DataError(
            f"Gains are paired over seeds, but {names} do not share theirs: seed {lacking} was run for only "
            "one of them; run the missing seeds."
        )
    better = metric_named(metric).gain
    return estimate({seed: better(arm[seed], baseline[seed]) for seed in sorted(arm)}, step=step)


def resampled_seeds(gain: Estimate) -> Resampled | None:
    """BCa interval and Wilcoxon's p value of a gain, from ten seeds on; None before, or without a spread.

    Source: Efron, JASA 82 (1987) 171-185; Wilcoxon, Biometrics Bulletin 1 (1945) 80-83. They stand beside the t
    interval and decide nothing.
    """
    import numpy as np
    from scipy import stats

    values = np.array(list(gain.values.values()))
    if len(values) < ENOUGH_FOR_RESAMPLING or not gain.sd or gain.sd < NO_SPREAD:
        return None
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, method="BCa", n_resamples=9999, rng=0
    ).confidence_interval
    return Resampled(float(found.low), float(found.high), float(stats.wilcoxon(values).pvalue))


def smallest_visible(gain: Estimate) -> float | None:
    r"""The true gain that so many seeds with this spread would show in four of five comparisons,
    :math:`(t_{.975} + t_{.8}) s / \sqrt{n}`; None for one seed."""
    if gain.sd is None or gain.low is None:
        return None
    from scipy import stats

    df = gain.n - 1
    error = (gain.mean - gain.low) / float(stats.t.ppf((1 + CONFIDENCE) / 2, df))
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, df) + stats.t.ppf(POWER, df)) * error


def interquartile_mean(tasks: Sequence[Mapping[int, float]]) -> Estimate:
    """The mean of the middle half of all values of many tasks, with its interval from resampled seeds.

    A mean over tasks is moved by one task that lies far off, a median ignores most of them.

    Args:
        tasks: for each task seed to value (of a metric, or of a gain), all in one unit.

    Returns: ``values`` holds the interquartile mean of each seed over the tasks; ``low`` and ``high`` come from drawing
        the seeds of every task anew, and are None where each has one seed.
    Source: Agarwal et al., NeurIPS 2021, arXiv:2108.13264 (stratified bootstrap).
    Raises: DataError for no task, or one without values.
    """
    import numpy as np
    from scipy import stats

    if not tasks or not all(tasks):
        raise DataError("An interquartile mean needs tasks with at least one value each.")
    found = [np.array(list(values.values())) for values in tasks]
    mean = float(stats.trim_mean(np.concatenate(found), 0.25))
    shared = sorted(set.intersection(*(set(values) for values in tasks)))
    by_seed = {seed: float(stats.trim_mean([values[seed] for values in tasks], 0.25)) for seed in shared}
    if all(len(values) == 1 for values in found):
        return Estimate(mean, None, None, None, None, by_seed)
    rng = np.random.default_rng(0)
    drawn = [np.concatenate([rng.choice(v, len(v)) for v in found]) for _ in range(2000)]
    means = stats.trim_mean(np.stack(drawn), 0.25, axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean, float(means.std(ddof=1)), float(low), float(high), None, by_seed)


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
