"""Gains, intervals and verdicts, against scipy and by construction."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from limbeck.errors import DataError, UnknownNameError
from limbeck.evaluation import Row, cautions, estimate, holm, paired_gain, verdicts
from limbeck.evaluation.statistics import points


def arm(name: str, mean: float, *, control: str = "none", seeds: int = 5, sd: float = 1.0) -> list[Row]:
    noise = random.Random(f"{name}, {control}")  # not one stream: a test must not depend on those before it
    values = [(mean + (seed - 2) * 2 + noise.gauss(0, sd)) / 100 for seed in range(seeds)]
    return [
        Row(name, "kd", "paired", control, s, "test", "accuracy", v, 1.0, 240) for s, v in enumerate(values)
    ]


def kind_of(*parts: list[Row], name: str = "a") -> str:
    return verdicts([row for part in parts for row in part])[name].kind


def test_paired_gain_is_the_paired_t_test() -> None:
    a, b = [0.88, 0.91, 0.85, 0.90, 0.86], [0.48, 0.52, 0.44, 0.53, 0.47]
    gain = paired_gain(dict(enumerate(a)), dict(enumerate(b)))
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert gain.mean == pytest.approx(sum(a) / 5 - sum(b) / 5)
    assert gain.p == pytest.approx(expected.pvalue)
    assert (gain.low, gain.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_one_run_has_no_interval() -> None:
    found = estimate({0: 0.5})
    assert (found.mean, found.sd, found.low, found.p, found.n) == (0.5, None, None, None, 1)
    assert points(found) == "+50.0 points"
    assert kind_of(arm("supervised", 48, seeds=1), arm("a", 88, seeds=1)) == "one_run"


def test_equal_differences() -> None:
    assert estimate({0: 0.0, 1: 0.0}).p == 1.0
    assert estimate({0: 0.25, 1: 0.25}).p == 0.0


def test_seeds_must_be_shared() -> None:
    with pytest.raises(DataError, match="'a' and 'supervised' do not share theirs: seed 3, 4"):
        kind_of(arm("supervised", 48), arm("a", 88, seeds=3))
    with pytest.raises(DataError, match="two values"):
        kind_of(arm("supervised", 48), arm("a", 88), arm("a", 88))


def test_a_gain_with_a_flat_control_is_the_teachers() -> None:
    rows = arm("supervised", 48) + arm("a", 88) + arm("a", 46, control="shuffled")
    verdict = verdicts(rows)["a"]
    assert verdict.kind == "teacher_helps"
    assert verdict.sentence.endswith("the teacher helps.")


def test_a_gain_that_the_control_shares_is_not_the_teachers() -> None:
    rows = arm("supervised", 48) + arm("a", 60) + arm("a", 60.2, control="shuffled")
    verdict = verdicts(rows)["a"]
    assert verdict.kind == "distillation_helps"
    assert "its shuffled control gains" in verdict.sentence


def test_every_control_must_be_beaten() -> None:
    rows = arm("supervised", 48) + arm("a", 60) + arm("a", 48, control="shuffled")
    assert kind_of(rows) == "teacher_helps"
    assert kind_of(rows, arm("a", 60, control="random")) == "distillation_helps"


def test_only_the_rest_is_the_teachers() -> None:
    rows = arm("supervised", 48) + arm("a", 80) + arm("a", 60, control="shuffled")
    verdict = verdicts(rows)["a"]
    assert verdict.kind == "teacher_helps"
    assert "only the rest is the teacher's" in verdict.sentence


def test_no_gain_hurts_no_control_no_baseline() -> None:
    base = arm("supervised", 48)
    noisy = arm("a", 48.2, sd=3)
    assert kind_of(base, noisy) == "no_gain_seen"
    assert "does not help" in verdicts(base + noisy)["a"].sentence
    wide = [
        Row("a", "kd", "paired", "none", s, "test", "accuracy", v, 1.0, 240)
        for s, v in enumerate((0.6, 0.99))
    ]
    two = [row for row in base if row.seed < 2] + wide
    assert verdicts(two)["a"].sentence.endswith("no gain seen; more seeds may tell.")
    assert kind_of(base, arm("a", 30)) == "hurts"
    assert kind_of(base, arm("a", 80)) == "distillation_helps"
    assert kind_of(arm("a", 80)) == "no_baseline"
    assert kind_of(base, name="supervised") == "baseline"


def test_many_arms_are_corrected() -> None:
    base = [Row("supervised", "s", "none", "none", s, "test", "accuracy", 0.5, 1, 1) for s in range(5)]
    gains = [0.001, 0.012, 0.02, 0.008, 0.03]  # p = 0.04 alone

    def weak(name: str) -> list[Row]:
        return [
            Row(name, "kd", "paired", "none", s, "test", "accuracy", 0.5 + g, 1, 1)
            for s, g in enumerate(gains)
        ]

    assert kind_of(base, weak("a")) == "distillation_helps"
    many = verdicts(base + weak("a") + weak("b") + weak("c"))
    assert many["a"].kind == "no_gain_seen"
    assert "Holm" in many["a"].sentence


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_properties(p: list[float]) -> None:
    corrected = holm(p)
    assert all(raw <= new <= 1 for raw, new in zip(p, corrected))
    assert sorted(range(len(p)), key=lambda i: (p[i], i)) == sorted(
        range(len(p)), key=lambda i: (corrected[i], p[i], i)
    )


def test_cautions() -> None:
    rows = arm("supervised", 48) + arm("a", 88)
    assert cautions(rows) == ["'a' has no control, so whether a gain is its teacher's cannot be said."]
    assert "One run" in cautions(arm("supervised", 48, seeds=1))[0]
    assert "3 seeds" in cautions(arm("supervised", 48, seeds=3))[0]
    same = [Row("supervised", "s", "none", "none", s, "test", "accuracy", 0.5, 1, 1) for s in range(5)]
    assert "same value" in cautions(same)[0]


def test_wrong_split_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'test/accuracy'"):
        verdicts(arm("supervised", 48), metric="acuracy")
    with pytest.raises(DataError, match="no result rows"):
        verdicts([])
