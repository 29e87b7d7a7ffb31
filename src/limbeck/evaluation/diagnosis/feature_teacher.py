"""A teacher of features alone, made to say classes: by its head, or by a ridge probe that labels teach.

Axis legend: n rows with a class, N rows of the bank, D teacher width, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.banks.stores import MemoryStore
from limbeck.data.base import Examples
from limbeck.evaluation.diagnosis.ridge import cross_fitted, ridge, standardised
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links.base import Draw, Link

FEWEST = 20  # rows with a class, from which on a probe is learned
MOST_ROWS = 2048  # that it is learned from
_BLOCK = 8192


def with_predictions(bank: Bank, link: Link, train: Examples) -> tuple[Bank, str] | None:
    """The bank with log-probabilities, and a sentence on where they come from; None where nothing can teach a probe.

    What a probe says of rows that it has learned from is said by one that left them out, so that the link can be judged
    on them.

    Args:
        bank: with features, its classes those of ``train``.
    """
    if "features" not in bank.signals:
        return None
    if bank.head is not None:
        weight, bias = bank.head
        offset = torch.zeros(len(weight)) if bias is None else bias.float()
        scores = torch.cat([part @ weight.float().T + offset for part in _features(bank)])
        return _derived(
            bank, scores
        ), "The bank holds no class predictions; its head on its features stands in."
    rows, classes = _known(bank, link, train)
    if len(rows) < FEWEST or len(classes.unique()) < 2:
        return None
    scores = _probed(bank, rows, classes, len(train.class_names))
    said = (
        f"The teacher says no classes; a ridge probe on its features, learned from {len(rows)} labelled rows, stands "
        "in for it."
    )
    return _derived(bank, scores), said


def _known(bank: Bank, link: Link, train: Examples) -> tuple[Tensor, Tensor]:
    """Numbers of bank rows whose class is known, by the bank's labels or by a labelled student row that is paired."""
    if bank.labels is not None and bool((bank.labels >= 0).any()):
        rows = torch.nonzero(bank.labels >= 0).squeeze(1)
        rows = rows[:: max(1, -(-len(rows) // MOST_ROWS))]
        return rows, bank.labels[rows]
    labelled = torch.nonzero(train.labels >= 0).squeeze(1)[:MOST_ROWS]
    if link.goes_by_class or link.in_bags or not len(labelled) or not link.teacher_keys:
        return labelled[:0], labelled[:0]
    draws = [Draw("unlabelled", row, 0, slot) for slot, row in enumerate(labelled.tolist())]
    keys = [train.keys[row] for row in labelled.tolist()]
    unknown = torch.full((len(keys),), UNLABELLED)
    found = link.rows(bank, keys, unknown, draws, seed=0, signals=("features",))
    ours, said = found.paired()
    picked = found.said.keys or ()
    theirs = [picked[i] for i in found.pair_index[ours].tolist()] if len(said) else []
    rows = torch.from_numpy(bank.rows_of(theirs, bank.views[0])) if theirs else ours
    return rows, train.labels[labelled[ours]]


def _probed(bank: Bank, rows: Tensor, classes: Tensor, n_classes: int) -> Tensor:
    """Scores ``(N, C)`` of deviation 2, those of ``rows`` by probes that left them out."""
    fitted_on = bank.take(rows.numpy(), ["features"])["features"].float()
    targets = F.one_hot(classes, n_classes).double()
    (x,) = standardised(fitted_on)
    probe = ridge(x, targets)
    left_out = cross_fitted(lambda kept: ridge(x[kept], targets[kept])(x), len(rows), 5, classes)
    scores = torch.cat([probe(standardised(fitted_on, part)[1]) for part in _features(bank)])
    scores[rows] = left_out
    scores = scores - scores.mean(0)
    return 2 * scores / scores.std().clamp(min=1e-9)


def _features(bank: Bank) -> list[Tensor]:
    """In blocks, as they are asked for."""
    return [part["features"].float() for part in bank.blocks(_BLOCK, signals=["features"])]


def _derived(bank: Bank, scores: Tensor) -> Bank:
    log_probs = torch.log_softmax(scores.float(), 1)
    return bank.derive((_derived, (bank, scores)), store=MemoryStore({"log_probs": log_probs}))
