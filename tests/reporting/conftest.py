"""A comparison with figures like those of the real benchmark."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from limbeck.evaluation import Row

SPEC = (
    ("supervised", "supervised", "none", 48.0, 4.0, None),
    ("ucmkd", "ucmkd", "by_class", 48.3, 4.0, 48.2),
    ("paired", "kd", "paired", 88.2, 2.7, 45.6),
    ("bagged", "bagkd", "bagged", 80.2, 3.6, 42.0),
)


@pytest.fixture
def comparison() -> Callable[..., list[Row]]:
    def rows(seeds: int = 5, splits: tuple[str, ...] = ("test",)) -> list[Row]:
        draw = random.Random(0)
        found = []
        for seed in range(seeds):
            for arm, method, link, mean, sd, shuffled in SPEC:
                for control, centre in (("none", mean), ("shuffled", shuffled)):
                    for split in splits:
                        if centre is not None:
                            value = min(1.0, draw.gauss(centre, sd) / 100)
                            found.append(
                                Row(arm, method, link, control, seed, split, "accuracy", value, 8.0, 240)
                            )
        return found

    return rows


@pytest.fixture
def curves() -> list[dict[str, Any]]:
    return [
        {"arm": arm, "control": control, "seed": seed, "step": step, "value": 0.1 + step / 500 + seed / 100}
        for arm in ("supervised", "paired")
        for control in ("none", "shuffled")
        for seed in (0, 1)
        for step in (0, 120, 240)
    ]
