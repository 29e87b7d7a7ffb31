"""What a metric says of values and gains."""

from __future__ import annotations

import pytest

from limbeck.problems.metric import ACCURACY, METRICS, RMSE, Metric, metric_named


def test_shares_are_told_in_percent_and_points():
    assert ACCURACY.text(0.8823) == "88.2%"
    assert ACCURACY.signed(0.392) == "+39.2"
    assert ACCURACY.points(0.1, 0.05, 0.15) == "+10.0 points [+5.0, +15.0]"
    assert ACCURACY.signed(-0.0001) == "+0.0"
    assert ACCURACY.gain(0.9, 0.8) == pytest.approx(0.1)


def test_lower_is_better():
    assert RMSE.gain(0.5, 0.8) == pytest.approx(0.3)  # a smaller error is a gain
    assert RMSE.text(0.51234) == "0.512"
    assert RMSE.points(0.3) == "+0.300"
    assert (RMSE.unit, RMSE.scale) == ("", 1.0)


def test_names():
    assert metric_named("rmse") is RMSE
    assert metric_named("words_per_minute") == Metric("words_per_minute")
    assert str(Metric("words_per_minute")) == "Words per minute"
    assert str(RMSE) == "RMSE"
    assert all(name == metric.name for name, metric in METRICS.items())
