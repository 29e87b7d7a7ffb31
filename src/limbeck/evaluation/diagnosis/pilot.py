"""A distillation in a second: ridge regression on the student's features in place of its training.

Axis legend: l labelled rows, n linked rows, j judges (held-out labelled rows), d features, C classes, g bags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.evaluation.diagnosis.ridge import Ridge, cross_fitted, ridge
from limbeck.functional.response.assignment import assignment_in_bags

ROUNDS = 5  # of assignment inside bags
BAG_STRENGTH = 0.03
_Z = 1.959963984540054


@dataclass(frozen=True)
class Pilot:
    """What a linear student gains.

    Args:
        gain: accuracy with the teacher less accuracy without, in [-1, 1].    low, high: its 95% interval.
        taught, alone: the two accuracies.    n: number of judges.
        crossed: judged by cross-validation on the student's own labels, for want of others.
    """

    gain: float
    low: float
    high: float
    taught: float
    alone: float
    n: int
    crossed: bool = False


@dataclass(frozen=True)
class Rows:
    """What a pilot reads, features standardised alike.

    Args:
        features_l: ``(l, d)``.    labels: ``(l,)``.    features: ``(n, d)`` of linked rows.
        probs: ``(n, C)`` what the teacher says of each linked row; in bags ``(g, C)``, of each bag.
        group: ``(n,)`` bag of each linked row; None = pairs.
    """

    features_l: Tensor
    labels: Tensor
    features: Tensor
    probs: Tensor
    group: Tensor | None = None

    def labelled(self, kept: Tensor) -> Rows:
        """With the given labelled rows alone."""
        return Rows(self.features_l[kept], self.labels[kept], self.features, self.probs, self.group)


def pilot(rows: Rows, features_j: Tensor, labels_j: Tensor) -> Pilot:
    """The pilot as held-out labelled rows judge it.

    Args:
        features_j: ``(j, d)``.    labels_j: ``(j,)``.
    """
    alone = None if not len(rows.labels) else (probe(rows)(features_j).argmax(1) == labels_j)
    taught = taught_by(rows)(features_j).argmax(1) == labels_j
    return _compared(taught, alone, rows.probs.shape[1])


def crossed_pilot(rows: Rows, n_folds: int = 5) -> Pilot:
    """The pilot judged on the student's own labelled rows, each left out of what it is judged on."""
    n = len(rows.labels)
    alone = cross_fitted(
        lambda kept: probe(rows.labelled(kept))(rows.features_l).argmax(1), n, n_folds, rows.labels
    )
    taught = cross_fitted(
        lambda kept: taught_by(rows.labelled(kept))(rows.features_l).argmax(1), n, n_folds, rows.labels
    )
    found = _compared(taught == rows.labels, alone == rows.labels, rows.probs.shape[1])
    return Pilot(found.gain, found.low, found.high, found.taught, found.alone, found.n, crossed=True)


def probe(rows: Rows) -> Ridge:
    """What the labels alone teach."""
    return ridge(rows.features_l, F.one_hot(rows.labels, rows.probs.shape[1]))


def label_doubling(rows: Rows, features_j: Tensor, labels_j: Tensor, n_halves: int = 5) -> float:
    """What the last doubling of the labels brought a probe, in accuracy: the next will hardly bring more.

    Args:
        features_j: ``(j, d)``.    labels_j: ``(j,)``.    n_halves: halves of each class that are tried.
    """
    n, draw = len(rows.labels), torch.Generator().manual_seed(0)

    def accuracy(kept: Tensor) -> float:
        return float((probe(rows.labelled(kept))(features_j).argmax(1) == labels_j).double().mean())

    halves = []
    for _ in range(n_halves):
        order = torch.randperm(n, generator=draw)
        dealt = order[
            torch.argsort(rows.labels[order], stable=True)
        ]  # by class, in a random order inside each
        halves.append(accuracy(dealt[::2]))
    return accuracy(torch.arange(n)) - sum(halves) / n_halves


def taught_by(rows: Rows) -> Ridge:
    """What labels and teacher teach together, both with the same total weight, as in a training."""
    if rows.group is not None:
        return _taught_in_bags(rows, rows.group)
    return _joint(rows, rows.probs, strength=None)


def _joint(rows: Rows, soft: Tensor, *, strength: float | None) -> Ridge:
    n_l, n = len(rows.labels), len(soft)
    hard = F.one_hot(rows.labels, soft.shape[1]).to(soft.dtype)
    weights = torch.cat([torch.full((n_l,), 1 / max(n_l, 1)), torch.full((n,), 1 / max(n, 1))])
    return ridge(
        torch.cat([rows.features_l, rows.features]),
        torch.cat([hard, soft]),
        weights,
        strength=strength,
        judged=torch.arange(n_l + n) >= n_l,  # by the teacher's own words: labels are few
    )


def _taught_in_bags(rows: Rows, group: Tensor) -> Ridge:
    """Rounds of assigning rows to classes inside each bag and learning from it, from the labels' probe on."""
    if len(rows.labels):
        scores = probe(rows)(rows.features)
    else:
        scores = ridge(rows.features, rows.probs[group], strength=BAG_STRENGTH)(rows.features)
    found = None
    for _ in range(ROUNDS):
        log_probs = (scores - scores.mean(0)).div(scores.std().clamp(min=1e-9)).mul(2).log_softmax(1)
        soft = assignment_in_bags(log_probs, group, rows.probs)
        found = _joint(rows, soft.double(), strength=BAG_STRENGTH)
        scores = found(rows.features)
    assert found is not None
    return found


def _compared(taught: Tensor, alone: Tensor | None, n_classes: int) -> Pilot:
    """Difference of two shares over the same rows, with Agresti and Min's interval (half a row more in each cell);
    against chance where there is nothing to learn from alone."""
    n = len(taught)
    if alone is None:
        share = float(taught.double().mean())
        better = (float(taught.sum()) + 1) / (n + 2)
        spread = _Z * math.sqrt(better * (1 - better) / (n + 2))
        chance = 1 / n_classes
        return Pilot(share - chance, better - spread - chance, better + spread - chance, share, chance, n)
    won, lost = float((taught & ~alone).sum()) + 0.5, float((~taught & alone).sum()) + 0.5
    centre = (won - lost) / (n + 2)
    spread = _Z * math.sqrt(max(won + lost - (won - lost) ** 2 / (n + 2), 0.0)) / (n + 2)
    gain = float(taught.double().mean() - alone.double().mean())
    return Pilot(
        gain,
        centre - spread,
        centre + spread,
        float(taught.double().mean()),
        float(alone.double().mean()),
        n,
    )
