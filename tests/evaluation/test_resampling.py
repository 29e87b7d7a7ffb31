"""Resampled test items: intervals with the right width, draws that are shared, and too few items."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.evaluation import Row, cautions, verdicts
from limbeck.evaluation.resampling import DRAWS, FEWEST_ITEMS, Items, RunId, Scored, resampled_items
from limbeck.problems import Classification, Regression
from limbeck.problems.base import Bare, Targets
from limbeck.problems.classification import numbered
from limbeck.problems.metric import ACCURACY, MACRO_F1, RMSE

NAMES = ("a", "b")
CLASSES = Classification(NAMES)


def kept(right: torch.Tensor) -> dict[str, torch.Tensor]:
    """Statistics of answers that are right where ``right [n]`` says so."""
    true = torch.arange(len(right)) % 2
    found = torch.where(right, true, 1 - true)
    return CLASSES.statistics(Bare(4.0 * torch.eye(2)[found]), numbered(true))


def items_of(*right: torch.Tensor, seeds: int = 1, problem=CLASSES, metric=ACCURACY) -> Items:
    runs = {
        RunId(f"arm{i}", "none", seed): Scored(kept(r), "same")
        for i, r in enumerate(right)
        for seed in range(seeds)
    }
    return resampled_items(runs, problem, metric)


def first(n: int, share: float) -> torch.Tensor:
    return torch.arange(n) < share * n


def test_the_interval_of_a_share_is_that_of_the_normal_law() -> None:
    n = 400
    low, high = items_of(first(n, 0.6), first(n, 0.5)).interval(("arm0", "none"), ("arm1", "none"), [0])
    half = 1.96 * math.sqrt(0.1 * 0.9 / n)  # a tenth of the items makes the difference
    assert (low, high) == (pytest.approx(0.1 - half, abs=0.005), pytest.approx(0.1 + half, abs=0.005))


def test_equal_runs_differ_on_no_draw() -> None:
    items = items_of(first(100, 0.7), first(100, 0.7), seeds=3)
    assert items.interval(("arm0", "none"), ("arm1", "none"), [0, 1, 2]) == (0.0, 0.0)
    assert len(items.values[RunId("arm0", "none", 0)]) == DRAWS
    assert items.step == pytest.approx(0.01)


def test_metrics_that_are_no_mean_over_items() -> None:
    items = items_of(first(200, 0.9), first(200, 0.6), metric=MACRO_F1)
    low, high = items.interval(("arm0", "none"), ("arm1", "none"), [0])
    assert 0.2 < low < 0.3 < high < 0.45
    assert items.step == 0.0
    line = Regression(("height",))
    right = torch.linspace(0, 1, 50)[:, None]
    runs = {
        RunId(name, "none", 0): Scored(
            line.statistics(Bare(right + error), Targets(right[:, 0], torch.ones(50).bool())), "x"
        )
        for name, error in (("near", 0.1), ("far", 0.3))
    }
    low, high = resampled_items(runs, line, RMSE).interval(("near", "none"), ("far", "none"), [0])
    assert (low, high) == (pytest.approx(0.2, abs=1e-5), pytest.approx(0.2, abs=1e-5))  # lower is better


def rows(name: str, *values: float) -> list[Row]:
    return [
        Row(name, "kd", "paired", "none", seed, "test", "accuracy", v, 1.0, 1)
        for seed, v in enumerate(values)
    ]


def judged(n: int, gained: int, *, control: bool = False) -> str:
    """Five seeds that all gain the same ``gained`` of ``n`` items, nearly without spread over seeds."""
    base, more = first(n, 0.5), torch.arange(n) < 0.5 * n + gained
    scored = {
        RunId(arm, "none", seed): Scored(kept(right), "same")
        for arm, right in (("supervised", base), ("a", more))
        for seed in range(5)
    }
    items = resampled_items(scored, CLASSES, ACCURACY)
    table = rows("supervised", *(float(base.double().mean()) for _ in range(5)))
    table += rows("a", *(float(more.double().mean()) for _ in range(5)))
    if n < FEWEST_ITEMS:
        assert any("say nothing of others" in text for text in cautions(table, items=items))
    return verdicts(table, items=items)["a"].kind


def test_seeds_alone_do_not_decide() -> None:
    assert judged(200, 2) == "no_gain_seen"  # other items would not show it
    assert judged(200, 30) == "distillation_helps"  # no control was run
    assert judged(200, -30) == "hurts"


def test_a_single_item_claims_nothing() -> None:
    assert judged(1, 1) == judged(8, 4) == "no_gain_seen"


def test_other_items_are_drawn_apart() -> None:
    runs = {
        RunId("arm0", "none", 0): Scored(kept(first(50, 0.5)), "first"),
        RunId("arm0", "none", 1): Scored(kept(first(50, 0.5)), "second"),
    }
    values = resampled_items(runs, CLASSES, ACCURACY).values
    assert (values[RunId("arm0", "none", 0)] != values[RunId("arm0", "none", 1)]).any()


def test_no_items() -> None:
    items = items_of(first(0, 0.5), first(0, 0.5))
    assert items.interval(("arm0", "none"), ("arm1", "none"), [0]) is None
