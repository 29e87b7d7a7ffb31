"""The control ``prototype``: a teacher that knows the class and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.banks.stores import MemoryStore
from limbeck.errors import DataError
from limbeck.seeding import keyed_generator

SAMPLE = 8192  # rows that spread and confidence are measured on


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
