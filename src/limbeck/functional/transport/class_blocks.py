"""Class blocks: rows sorted into one padded block per class, so that transport stays inside a class.

Axis legend: c - classes on both sides, k - rows of the largest class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.transport.solver.sinkhorn import FLOOR


@dataclass(frozen=True)
class ClassBlocks:
    """Row numbers and weights by class, padded with row 0 at next to no weight (``inside`` tells which are real).

    ``mass`` ``(c,)`` is the part of the student's weight in each class; both sides' weights sum to it.
    ``left_out`` counts the rows whose class the other side lacks.
    """

    rows_s: Tensor
    rows_t: Tensor
    inside_s: Tensor
    inside_t: Tensor
    a: Tensor
    b: Tensor
    mass: Tensor
    left_out: int


def class_blocks(labels_s: Tensor, labels_t: Tensor, a: Tensor, b: Tensor) -> ClassBlocks | None:
    """Sort rows into the classes that both sides hold; None when they share no class.

    A class counts with the student's weight in it, scaled so that the classes on both sides sum to one.
    """
    for labels, name in ((labels_s, "labels_s"), (labels_t, "labels_t")):
        if labels.is_floating_point():
            raise DataError(f"{name} must hold class numbers of an integer type, got {labels.dtype}")
        if int(labels.min()) < 0:
            raise DataError(f"{name} holds negative labels (no label); select the labelled rows first")
    weight_s, weight_t = _by_class(labels_s, a, labels_t), _by_class(labels_t, b, labels_s)
    shared = ((weight_s > FLOOR * len(a)) & (weight_t > FLOOR * len(b))).nonzero().flatten()
    if not len(shared):
        return None
    mass = weight_s[shared] / weight_s[shared].sum()
    rows_s, inside_s = rows_by_class(labels_s, shared)
    rows_t, inside_t = rows_by_class(labels_t, shared)
    a_blocks = (a[rows_s] * inside_s * (mass / weight_s[shared]).unsqueeze(-1)).clamp_min_(FLOOR)
    b_blocks = (b[rows_t] * inside_t * (mass / weight_t[shared]).unsqueeze(-1)).clamp_min_(FLOOR)
    left_out = len(labels_s) + len(labels_t) - int(inside_s.sum()) - int(inside_t.sum())
    return ClassBlocks(rows_s, rows_t, inside_s, inside_t, a_blocks, b_blocks, mass, left_out)


def _by_class(labels: Tensor, weights: Tensor, other: Tensor) -> Tensor:
    n_classes = int(max(labels.max(), other.max())) + 1
    return weights.new_zeros(n_classes).index_add_(0, labels, weights)


def rows_by_class(labels: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers ``(c, k)`` of each shared class, one at least, and which of them are real."""
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels, minlength=int(shared.max()) + 1)
    starts = counts.cumsum(0) - counts
    place = torch.arange(int(counts[shared].max()), device=labels.device)
    inside = place < counts[shared].unsqueeze(-1)
    index = (starts[shared].unsqueeze(-1) + place).clamp(max=len(order) - 1)
    return torch.where(inside, order[index], torch.zeros_like(index)), inside
