"""Intervals of differences over seeds, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from limbeck.errors import DataError
from limbeck.evaluation import estimate, interquartile_mean, smallest_visible
from limbeck.evaluation.estimates import resampled_seeds


def values(n: int, mean: float = 0.1, sd: float = 0.02) -> dict[int, float]:
    drawn = np.random.default_rng(n).normal(size=n)
    return dict(enumerate((mean + sd * (drawn - drawn.mean()) / drawn.std(ddof=1)).tolist()))


def test_a_coarse_scale_is_no_proof_of_no_spread() -> None:
    """Two seeds that both gain one of 20 items: exactly equal, and no evidence."""
    equal = {0: 0.05, 1: 0.05}
    assert estimate(equal).p == 0.0
    found = estimate(equal, step=0.05)
    assert found.sd == 0
    assert found.p == pytest.approx(2 * stats.t.sf(np.sqrt(24), 1))
    assert found.low < 0 < found.high
    wide = values(5)
    assert estimate(wide, step=0.001) == estimate(wide)


def test_bca_and_wilcoxon_only_from_ten_seeds() -> None:
    assert resampled_seeds(estimate(values(9))) is None
    assert resampled_seeds(estimate(dict.fromkeys(range(12), 0.1))) is None
    found = resampled_seeds(estimate(values(10)))
    assert found.low < 0.1 < found.high
    assert found.high - found.low < 0.04
    assert found.p == pytest.approx(stats.wilcoxon(list(values(10).values())).pvalue)


def test_smallest_visible_gain_is_seen_in_four_of_five() -> None:
    size = smallest_visible(estimate(values(5, sd=1.0)))
    assert size == pytest.approx((stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) / np.sqrt(5))
    drawn = np.random.default_rng(0).normal(size, 1.0, (20_000, 5))
    seen = stats.ttest_1samp(drawn, 0, axis=1)
    assert np.mean((seen.pvalue < 0.05) & (drawn.mean(1) > 0)) == pytest.approx(0.8, abs=0.03)
    assert smallest_visible(estimate({0: 0.1})) is None


def test_interquartile_mean_ignores_the_tails() -> None:
    tasks = [{0: 0.1, 1: 0.12}, {0: 0.11, 1: 0.1}, {0: 0.12, 1: 0.11}, {0: 9.0, 1: -9.0}]
    found = interquartile_mean(tasks)
    assert found.mean == pytest.approx(np.mean([0.1, 0.11, 0.11, 0.12]))
    assert found.low <= found.mean <= found.high
    assert set(found.values) == {0, 1}
    assert interquartile_mean([{0: 0.1}, {0: 0.2}]).low is None
    with pytest.raises(DataError, match="at least one value"):
        interquartile_mean([{}])
