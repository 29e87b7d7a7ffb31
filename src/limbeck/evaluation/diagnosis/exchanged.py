"""Does the teacher mean another class by a class's name?

Axis legend: n linked rows, C classes.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

FEWEST = 5  # rows that a class must be met in
SIGMAS = 3.0  # by which the other class must be the more frequent one


def exchanged_classes(predictions: Tensor, said: Tensor) -> list[tuple[int, int]]:
    """Pairs (class as the labels say it, class as the teacher says it) of classes that seem to have changed places.

    The one-to-one match of both sides' classes under which they agree most, where it beats agreement by name clearly
    for every class of a cycle: a judge may err on one class, but it does not exchange classes.

    Args:
        predictions: ``(n, C)`` by a judge that has learned from labels alone; one-hot where a label is known.
        said: ``(n, C)`` probabilities that reach each row.
    """
    if not len(said):
        return []
    met = predictions.double().T @ said.double()  # (C, C) expected counts
    by_chance = met.sum(1, keepdim=True) * met.sum(0, keepdim=True) / met.sum().clamp(min=1e-9)
    lift = met - by_chance
    place = linear_sum_assignment((-lift).numpy())[1].tolist()
    clear = [_is_clear(met, lift, c, place[c]) for c in range(len(met))]
    return [
        (c, place[c]) for c in range(len(met)) if place[c] != c and all(clear[k] for k in _cycle(place, c))
    ]


def _is_clear(met: Tensor, lift: Tensor, c: int, other: int) -> bool:
    noise = float(met[c, c] + met[c, other] + 1) ** 0.5
    ahead = float(lift[c, other] - lift[c, c]) / noise
    return bool(met[c].sum() >= FEWEST and lift[c, other] > 2 * lift[c, c].clamp(min=0) and ahead > SIGMAS)


def _cycle(place: list[int], start: int) -> list[int]:
    found, c = [start], place[start]
    while c != start:
        found.append(c)
        c = place[c]
    return found


def one_hot_where_known(predictions: Tensor, classes: Tensor) -> Tensor:
    """``predictions (n, C)`` with certainty where ``classes (n,)`` is not negative."""
    known = classes >= 0
    sure = torch.nn.functional.one_hot(classes[known], predictions.shape[1]).to(predictions.dtype)
    found = predictions.clone()
    found[known] = sure
    return found
