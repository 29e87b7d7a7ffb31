"""Controls: what a teacher would be worth that knows nothing, or everything."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.banks.folder.fields import TEXT
from limbeck.banks.stores import MemoryStore, MovedStore
from limbeck.errors import DataError, LinkError
from limbeck.seeding import keyed_generator, keyed_seed
from limbeck.signals.ragged import Ragged, Signal
from limbeck.signals.top_k import TopK

if TYPE_CHECKING:
    from limbeck.signals.links.base import Link, Source

SAMPLE = 8192  # rows that spread and confidence are measured on


def shuffled(bank: Bank, link: Link, seed: int) -> Bank:
    """``bank`` with its signals moved so that ``link`` tells nothing; keys, labels and head stay.

    A shuffle that respects the link changes nothing, so the link says what moves together (:meth:`Link.groups`): every
    such group gets the signals of another. Rows outside the link are deranged among themselves. Where the sizes of two
    groups differ, rows of the larger one come once and those of the smaller one repeat.

    Args:
        seed: the move depends on it and on the bank's keys, groups or labels alone.

    Raises: LinkError for ``unpaired`` (no such control exists) and when there are not two groups to exchange.
    """
    rows = moved_rows(bank, link, seed)
    return bank.derive((shuffled, (bank, link, seed)), store=MovedStore(bank._store, rows))


def moved_rows(source: Source, link: Link, seed: int) -> np.ndarray:
    """``[N]``: for each row of a teacher the row whose signals it gets in the shuffled control."""
    rng = np.random.default_rng(keyed_seed("shuffled", link.name, seed))
    return _deranged(link.groups(source), rng, ordered=link.keeps_order)


def _deranged(groups: np.ndarray, rng: np.random.Generator, *, ordered: bool) -> np.ndarray:
    """For each row the row whose signals it gets, ``[N]``.

    Groups move along one random cycle through all of them, so none stays; ``ordered`` keeps the order inside
    a group (the views of a key).
    """

    moved = np.arange(len(groups))
    inside = np.flatnonzero(groups >= 0)
    order = inside[np.argsort(groups[inside], kind="stable")]
    names, starts = np.unique(groups[order], return_index=True)
    if len(names) < 2:
        raise LinkError(
            f"A shuffled control needs at least two groups, keys or classes to exchange; got {len(names)}."
        )
    cycle = rng.permutation(len(names))
    sizes = np.diff([*starts, len(order)])
    if (sizes == sizes[0]).all():  # all at once: a bank of pairs has as many groups as rows
        members = order.reshape(len(names), -1)
        source = members if ordered else rng.permuted(members, axis=1)
        moved[members[cycle]] = source[np.roll(cycle, -1)]
    else:
        lists = np.split(order, starts[1:])
        for here, there in zip(cycle, np.roll(cycle, -1)):
            taken = lists[there] if ordered else rng.permutation(lists[there])
            moved[lists[here]] = np.resize(taken, len(lists[here]))
    outside = rng.permutation(np.flatnonzero(groups < 0))
    moved[outside] = np.roll(outside, -1)
    return moved


def random_like(bank: Bank, seed: int) -> Bank:
    """A teacher that saw nothing: normal noise with the mean and spread of each column of each signal.

    Log-probabilities are noise of the same scale, normalised. Texts, whole numbers and the lengths of rows are those of
    other rows, drawn at random; likeliest classes are drawn at random too, with the probabilities of another row.
    Held in memory, as large as the bank.
    """
    generator = keyed_generator("random_like", seed)
    # from the whole length of the bank, which may be sorted by class
    rows = np.linspace(0, len(bank) - 1, min(len(bank), 8192)).round().astype(np.int64)
    sample = bank._store.take(bank._store.columns, rows)
    # one draw for all signals: a box keeps a label and a score
    drawn = np.random.default_rng(keyed_seed("random_like", seed)).integers(0, len(bank), len(bank))
    values: dict[str, Any] = {}
    for name, seen in sample.items():
        if isinstance(seen, Tensor) and seen.is_floating_point():
            values[name] = _noise_like(seen, len(bank), generator, normalise=name == "log_probs")
        else:
            other = bank._store.take([name], drawn)[name]
            values[name] = (
                other if name == TEXT else _noise_in(other, seen, generator, normalise=name == "log_probs")
            )
    return bank.derive((random_like, (bank, seed)), store=MemoryStore(values))


def _noise_in(other: Signal, seen: Signal, generator: torch.Generator, *, normalise: bool) -> Signal:
    """The layout of ``other`` with what a teacher that saw nothing would put there; spreads are those of ``seen``."""
    if isinstance(other, Ragged):
        return replace(other, values=_noise_in(other.values, seen.values, generator, normalise=normalise))
    if isinstance(other, TopK):
        # a stretch of one random order of all classes: no class twice, at no cost for a large vocabulary
        order = torch.randperm(other.n_classes, generator=generator)
        first = torch.randint(other.n_classes, (*other.rest.shape, 1), generator=generator)
        return replace(other, ids=order[(first + torch.arange(other.k)) % other.n_classes])
    if not other.is_floating_point() or not len(seen):
        return other[torch.randperm(len(other), generator=generator)]
    return _noise_like(seen, len(other), generator, normalise=normalise)


def _noise_like(seen: Any, n_rows: int, generator: Any, *, normalise: bool) -> Any:
    known = seen.float()
    mean, spread = known.mean(0), known.std(0, correction=0)
    noise = torch.empty((n_rows, *seen.shape[1:]), dtype=seen.dtype)
    limit = torch.finfo(seen.dtype).max
    for start in range(0, n_rows, 8192):
        block = noise[start : start + 8192]
        drawn = mean + spread * torch.randn(block.shape, generator=generator)
        block.copy_(torch.log_softmax(drawn, -1) if normalise else drawn.clamp(-limit, limit))
    return noise


def oracle_like(bank: Bank) -> Bank:
    """The upper bound: every signal replaced by the truth in the bank's labels.

    Logits and log-probabilities put all but 1e-6 on the true class; features are a one-hot code of the class
    (unit random directions where there are fewer features than classes), and a head, if there was one, reads
    them. Hidden states, texts, tokens and boxes, which have no truth here, are left out.

    Raises: DataError when a row has no label, and for predictions of rows of different lengths.
    """
    labels = bank.labels
    if labels is None or bool((labels < 0).any()):
        raise DataError(f"The oracle of {bank.name} needs a label for every row of the bank.")
    n_classes = _n_classes(bank)
    log_probs = torch.log_softmax(torch.eye(n_classes) * 13.8, -1)  # e^-13.8 = 1e-6 of the true class's odds
    values = dict.fromkeys(_predictions(bank), log_probs[labels])
    head, width = None, bank.width("features")
    if width is not None:
        codes = torch.eye(n_classes, width)
        if width < n_classes:
            draw = torch.randn(n_classes, width, generator=keyed_generator("oracle_like"))
            codes = torch.nn.functional.normalize(draw, dim=1)
        values["features"] = codes[labels]
        head = None if bank.head is None else (13.8 * codes, None)
    return bank.derive((oracle_like, (bank,)), store=MemoryStore(values), head=head)


def uniform_like(bank: Bank) -> Bank:
    """A teacher without an opinion: uniform log-probabilities, and no other signal.

    Of likeliest k classes it keeps k, and gives the rest its share.

    Raises: DataError when the bank names no classes and predicts none, and for predictions of rows of different
        lengths.
    """
    n_classes = _n_classes(bank)
    row = torch.full((1, n_classes), 1.0 / n_classes).log()
    if "logits" not in bank.signals and "n_classes" in (entry := bank.manifest.signals.get("log_probs", {})):
        likeliest = TopK.of(row, entry["shape"][-1])  # all classes of a large vocabulary would not fit
        uniform: Signal = likeliest.rows(torch.zeros(len(bank), dtype=torch.long))
    else:
        uniform = row.repeat(len(bank), 1)
    values = dict.fromkeys(_predictions(bank), uniform)
    return bank.derive((uniform_like, (bank,)), store=MemoryStore(values), head=None)


def _predictions(bank: Bank) -> list[str]:
    """Names of the prediction signals of a bank, ``log_probs`` if it has none; DataError where rows have different
    lengths."""
    found: list[str] = [name for name in ("logits", "log_probs") if name in bank.signals]
    if ragged := [name for name in found if bank.manifest.signals[name].get("ragged")]:
        raise DataError(
            f"The {ragged[0]} of {bank.name} have rows of different lengths, of which there is no such control; take "
            "'shuffled' or 'random'."
        )
    return found or ["log_probs"]


def _n_classes(bank: Bank) -> int:
    n_classes = len(bank.class_names or ()) or bank.width("logits") or bank.width("log_probs")
    if not n_classes:
        raise DataError(
            f"The bank {bank.name} neither names classes nor predicts them; pass class_names= to it."
        )
    return n_classes


def prototype_like(bank: Bank, classes: np.ndarray) -> Bank:
    """``bank`` with a vertex of a regular simplex, one for each class, in place of every signal.

    All classes are equally far apart, so whatever the teacher knew of which classes resemble each other, or of a
    single sample, is gone. Features keep the bank's mean and spread, predictions its mean confidence; a head, if there
    was one, reads the vertices. Hidden states and texts are left out.

    Args:
        classes: ``[N]`` int64 class of each row, as far as the student's own labels tell it; -1 = they do not: such a
            row gets the centre, which says nothing (:meth:`limbeck.signals.links.base.Link.told_classes`).

    Raises: DataError for a bank without classes, or where no class is told.
    """
    n_classes = len(bank.class_names or ()) or bank.width("logits") or bank.width("log_probs") or 0
    if n_classes < 2:
        raise DataError(f"The control 'prototype' needs classes, and the bank {bank.name} has none.")
    if not (classes >= 0).any():
        raise DataError(
            "The control 'prototype' is a teacher that knows what the student's labels say, and over this link they "
            "say nothing of the teacher's rows; take 'shuffled', 'random' or 'uniform'."
        )
    rows = torch.from_numpy(np.where(classes >= 0, classes, n_classes))  # the last code is the centre
    some = np.linspace(0, len(bank) - 1, min(len(bank), SAMPLE)).round().astype(np.int64)
    seen, head = bank.take(some), None
    values: dict[str, Tensor] = {}
    codes = _scaled_codes(seen.log_predictions().exp(), n_classes) if _predicts(bank) else None
    if codes is not None:
        shown = {"logits": codes, "log_probs": codes.log_softmax(-1)}
        values = {name: shown[name][rows] for name in ("logits", "log_probs") if name in bank.signals}
    if seen.features is not None:
        mean, vertices = _placed(seen.features.float(), n_classes)
        values["features"] = torch.cat([mean + vertices, mean[None]])[rows]
        head = _head(bank, mean, vertices, codes)
    return bank.derive((prototype_like, (bank, classes)), store=MemoryStore(values), head=head)


def simplex(n_classes: int, width: int) -> Tensor:
    """``[C, width]`` float32: vertices of a regular simplex around 0 at length 1; random directions where fewer than
    C - 1 dimensions do not hold one."""
    if width < n_classes - 1:
        draw = torch.randn(n_classes, width, generator=keyed_generator("simplex"))
        return torch.nn.functional.normalize(draw, dim=1)
    centred = torch.eye(n_classes, dtype=torch.float64) - 1 / n_classes
    u, s, _ = torch.linalg.svd(centred)
    flat = (u * s)[:, : n_classes - 1]  # centred codes of C classes span C - 1 dimensions
    flat = torch.nn.functional.normalize(flat, dim=1)
    return torch.nn.functional.pad(flat, (0, width - (n_classes - 1))).float()


def _predicts(bank: Bank) -> bool:
    return bool({"logits", "log_probs"} & bank.signals)


def _scaled_codes(shares: Tensor, n_classes: int) -> Tensor:
    """``[C + 1, C]`` logits: of each class, with the mean confidence of ``shares``; the last row is undecided."""
    confidence = min(max(float(shares.max(-1).values.mean()), 1 / n_classes + 1e-3), 1 - 1e-3)
    height = math.log(confidence * (n_classes - 1) / (1 - confidence))
    return torch.cat([height * (torch.eye(n_classes) - 1 / n_classes), torch.zeros(1, n_classes)])


def _placed(features: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """The mean ``[d]`` of what the teacher shows, and vertices ``[C, d]`` as far from it as its rows are on average."""
    mean = features.mean(0)
    spread = (features - mean).square().sum(1).mean().sqrt()
    return mean, spread * simplex(n_classes, features.shape[1])


def _head(bank: Bank, mean: Tensor, vertices: Tensor, codes: Tensor | None) -> Any:
    """A linear head that gives a vertex the logits of its class."""
    if bank.head is None:
        return None
    size = float(vertices[0].square().sum()) or 1.0
    height = float(codes[0, 0]) if codes is not None else 10.0
    weight = height * vertices / size
    return weight, -(weight @ mean)
