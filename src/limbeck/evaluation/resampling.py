"""Resampled test items: would other items of the same kind have shown the same difference?

A gain may hold over seeds and still hang on a few test items, since all seeds are scored on the same ones. So the items
are drawn anew, with replacement, the same draw for every arm and seed that was scored on them, and the difference is
looked at over the draws.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from limbeck.evaluation.estimates import CONFIDENCE
from limbeck.problems.metric import Metric

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from limbeck.problems.base import Problem

DRAWS = 2000
DRAWS_OF_SCORES = 400  # of metrics that are no mean over items: each draw is scored as a whole
FEWEST_ITEMS = 10  # below, draws of the few there are say nothing of others
BLOCK = 2**21  # numbers of a block of draws


class Scored(NamedTuple):
    """One run's test items.

    Args:
        kept: what the problem keeps of each item, in their order.
        items: what identifies the items; equal where they are the same.
    """

    kept: Mapping[str, Tensor]
    items: str


class RunId(NamedTuple):
    """One run of a comparison."""

    arm: str
    control: str
    seed: int


@dataclass(frozen=True)
class Items:
    """What drawn test items would have given.

    Args:
        values: run to ``[B]`` values of the metric, one for each draw.
        n: run to its number of items.
        step: by how much one item moves the metric, in the run with the fewest; 0 where items are not right or wrong.
        metric: whose values these are.
    """

    values: Mapping[RunId, np.ndarray]
    n: Mapping[RunId, int]
    step: float
    metric: Metric

    def interval(
        self, arm: tuple[str, str], other: tuple[str, str], seeds: Sequence[int]
    ) -> tuple[float, float] | None:
        """The middle 95% of the mean gain of ``arm`` over ``other`` (arm and control each) over the draws; None where
        there are too few items to draw from, or none were kept."""
        import numpy as np

        pairs = [(RunId(*arm, seed), RunId(*other, seed)) for seed in seeds]
        runs = [run for pair in pairs for run in pair]
        if not runs or any(self.n.get(run, 0) < FEWEST_ITEMS for run in runs):
            return None
        sign = self.metric.gain(1.0, 0.0)
        gains = np.mean([sign * (self.values[a] - self.values[b]) for a, b in pairs], axis=0)
        low, high = np.nanquantile(gains, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)


def resampled_items(scored: Mapping[RunId, Scored], problem: Problem, metric: Metric) -> Items:
    """Draws of the test items of all runs; those with the same items share their draws."""
    values: dict[RunId, np.ndarray] = {}
    n: dict[RunId, int] = {}
    by_items: dict[str, list[RunId]] = defaultdict(list)
    for run, (_, items) in scored.items():
        by_items[items].append(run)
    coarse = True
    for items, runs in by_items.items():
        of_items = [problem.item_values(scored[run].kept, metric.name) for run in runs]
        if any(found is None for found in of_items):
            drawn, sizes = _draws_of_scores([scored[run].kept for run in runs], problem, metric, items)
            coarse = False
        else:
            table = [found.double().numpy() for found in of_items if found is not None]
            drawn, sizes = _draws_of_means(table, items), [len(row) for row in table]
            coarse = coarse and all(set(row.tolist()) <= {0.0, 1.0} for row in table)
        values |= dict(zip(runs, drawn, strict=True))
        n |= dict(zip(runs, sizes, strict=True))
    step = 1 / max(1, min(n.values())) if coarse and n else 0.0
    return Items(values, n, step, metric)


def _draws_of_means(table: Sequence[np.ndarray], items: str) -> list[np.ndarray]:
    """``[B]`` for each row of values: means over drawn items."""
    import numpy as np

    n = len(table[0])
    if not n:
        return [np.full(DRAWS, np.nan) for _ in table]
    rng, rows, shares = _rng(items), np.stack(table, axis=1), np.full(n, 1 / n)
    size = max(1, min(DRAWS, BLOCK // n))
    blocks = [
        rng.multinomial(n, shares, size=min(size, DRAWS - start)) @ rows / n
        for start in range(0, DRAWS, size)
    ]
    return list(np.concatenate(blocks).T)


def _draws_of_scores(
    kept: Sequence[Mapping[str, Tensor]], problem: Problem, metric: Metric, items: str
) -> tuple[list[np.ndarray], list[int]]:
    """``[B]`` for each run, and its number of items."""
    import numpy as np
    import torch

    n = len(next(iter(kept[0].values())))
    rng = _rng(items)
    drawn = [torch.from_numpy(rng.integers(n, size=n)) for _ in range(DRAWS_OF_SCORES)] if n else []
    found = [
        np.array([problem.scores({k: v[rows] for k, v in run.items()})[metric.name] for rows in drawn])
        for run in kept
    ]
    return found, [n] * len(kept)


def _rng(items: str) -> np.random.Generator:
    import numpy as np

    from limbeck.seeding import keyed_seed

    return np.random.default_rng(keyed_seed("items", items))
