"""Trials on a plain function: best, failed, resumed; and what a search space may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limbeck.errors import ConfigError, DataError, NonFiniteError
from limbeck.tuning.space import Choice, Range, search_space
from limbeck.tuning.trials import best_trial, run_trials

SPACE = {"rate": Range(1e-4, 1.0, log=True), "depth": Range(1, 4), "kind": Choice((None, [8], [8, 8]))}


def trials(folder: Path, n: int = 8, better: Any = "higher", score: Any = None, identity: str = "a") -> list:
    return run_trials(
        score or (lambda v, _: v["rate"]), SPACE, n, folder=folder, better=better, identity=identity
    )


def test_values_lie_in_the_space_and_the_best_is_the_best(tmp_path: Path) -> None:
    found = trials(tmp_path)
    for trial in found:
        assert 1e-4 <= trial.values["rate"] <= 1.0
        assert trial.values["depth"] in (1, 2, 3, 4)
        assert trial.values["kind"] in SPACE["kind"].values  # type: ignore[union-attr]
    rates = [trial.values["rate"] for trial in found]
    assert len(set(rates)) == 8
    assert best_trial(found, "higher").score == max(rates)
    assert best_trial(found, "lower").score == min(rates)


def test_what_is_resumed_is_what_would_have_come(tmp_path: Path) -> None:
    def stops(values: Any, folder: Path) -> float:
        if folder.name == "trial-12":
            raise KeyboardInterrupt
        return values["rate"]

    with pytest.raises(KeyboardInterrupt):
        trials(tmp_path / "stopped", 20, score=stops)
    assert len(json.loads((tmp_path / "stopped" / "trials.json").read_text())["trials"]) == 12
    resumed, whole = trials(tmp_path / "stopped", 20), trials(tmp_path / "whole", 20)
    assert [(t.values, t.score) for t in resumed] == [(t.values, t.score) for t in whole]


def test_trials_of_another_identity_begin_anew(tmp_path: Path) -> None:
    run: list[str] = []
    for identity in ("a", "a", "b"):
        trials(tmp_path, 2, score=lambda v, folder: run.append(folder.name) or 0.5, identity=identity)
    assert run == ["trial-0", "trial-1"] * 2


def test_a_trial_that_overflows_is_kept_and_never_best(tmp_path: Path) -> None:
    def overflows(values: Any, folder: Path) -> float:
        if folder.name != "trial-1":
            raise NonFiniteError("overflow in step 1")
        return values["rate"]

    found = trials(tmp_path, 3, score=overflows)
    assert [t.failed for t in found] == ["overflow in step 1", "", "overflow in step 1"]
    assert best_trial(found, "lower") is found[1]
    assert best_trial(found[:1], "lower") is None


def test_damaged_trials(tmp_path: Path) -> None:
    (tmp_path / "trials.json").write_text("{")
    with pytest.raises(DataError, match=r"trials.json is damaged .* delete it"):
        trials(tmp_path)


def test_numbers_as_yaml_has_them() -> None:
    found = search_space({"a": {"low": "1e-4", "high": 1}, "b": ["1e-3", "adam"]})
    assert found == {"a": Range(1e-4, 1), "b": Choice((1e-3, "adam"))}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no search space"),
        ({"a": []}, "'a' needs a list of values"),
        ({"a": "xy"}, "'a' needs a list of values"),
        ({"a": {"low": 1}}, "must be {low: NUMBER"),
        ({"a": {"low": 1, "high": 2, "step": 1}}, "must be {low: NUMBER"),
        ({"a": {"low": 0, "high": 2, "log": True}}, "with log from above 0"),
        ({"a": {"low": 2, "high": 2}}, "to a greater high"),
    ],
)
def test_what_is_no_search_space(values: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        search_space(values)
