"""Kendall's rank correlation of every row at once.

A few classes are compared pair by pair, some more for all rows at once, by how far they are apart. Of many,
discordant pairs are inversions of one order in the other; these are counted by blocks of places and of ranks, since a
comparison of all pairs of 1,000 classes is slower than a sort by far.

Axis legend: n - rows, c - classes, k - blocks of :data:`BLOCK` places or ranks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import widened

BLOCK = 32  # a power of 2
FEW = 16  # classes of which all pairs are compared
SOME = 200  # classes that are compared for all rows at once
BLOCK_ELEMENTS = 2**18  # of the largest array of a block of rows
Whole = NDArray[np.integer]


def kendall_tau(a: Tensor, b: Tensor) -> Tensor:
    r"""Kendall's rank correlation tau-b of each row: how far two predictions agree in the order of the classes.

    .. math:: \frac{\sum_{i < j} \mathrm{sgn}(a_i - a_j)\, \mathrm{sgn}(b_i - b_j)}{\sqrt{n_a n_b}}

    with n the number of pairs of classes that differ on a side.

    Args:
        a, b: ``(n, c)``, finite.
    Returns: ``(n,)`` in [-1, 1], NaN where a side does not vary, as in SciPy; float32 or wider.
    Needs: pairing by row; time O(n c log c) on a processor and O(n c^2) on an accelerator, memory of a block.
    Gradient: none.
    Source: Kendall, Biometrika 33, 1945.  Deviation: none.
    Raises: DataError for different shapes.
    Example:
        >>> kendall_tau(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]]))
        tensor([0.3333])
    """
    if a.dim() != 2 or a.shape != b.shape:
        raise DataError(f"both sides must be (n, c) of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = widened(a.detach(), b.detach())
    c = a.shape[1]
    counted = c > FEW and a.device.type == "cpu"
    each = c + (c // BLOCK) ** 2 if counted else c * (c - 1) // 2  # elements that a row takes
    step = max(1, BLOCK_ELEMENTS // max(1, each))
    agree = _by_pairs if not counted else _by_classes if c <= SOME else _by_counting
    found = [agree(x, y) for x, y in zip(a.split(step), b.split(step))]
    return torch.cat(found) if found else a.new_zeros(0)


def _by_pairs(a: Tensor, b: Tensor) -> Tensor:
    first, second = torch.triu_indices(a.shape[1], a.shape[1], offset=1, device=a.device)
    sign_a, sign_b = ((x[:, first] - x[:, second]).sign() for x in (a, b))
    differ = (sign_a.abs().sum(1) * sign_b.abs().sum(1)).sqrt()
    return (sign_a * sign_b).sum(1) / differ


def _by_classes(a: Tensor, b: Tensor) -> Tensor:
    """Without ties a pair agrees or not, so that two comparisons say it; rows with ties are counted."""
    rows = [x.numpy() for x in (a, b)]
    tied = np.zeros(len(a), bool)
    for x in rows:
        rising = np.sort(x, axis=1)
        tied |= (rising[:, 1:] == rising[:, :-1]).any(1)
    c = a.shape[1]
    found = torch.from_numpy(1 - 4 * _discordant(*rows) / (c * (c - 1))).to(a.dtype)
    if tied.any():
        which = torch.from_numpy(tied)
        found[which] = _by_counting(a[which], b[which])
    return found


def _discordant(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many pairs of classes of a row are in one order on one side and in the other on the other."""
    a, b = (
        np.ascontiguousarray(x.T) for x in (a, b)
    )  # rows last, and classes by their distance: all is contiguous
    c, n = a.shape
    above_a, above_b, found = np.empty((c, n), bool), np.empty((c, n), bool), np.zeros((c, n), np.uint8)
    for apart in range(1, c):  # SOME is below 256
        ours, theirs = above_a[apart:], above_b[apart:]
        np.greater(a[apart:], a[:-apart], out=ours)
        np.greater(b[apart:], b[:-apart], out=theirs)
        np.not_equal(ours, theirs, out=ours)
        found[apart:] += ours.view(np.uint8)
    return found.sum(0, dtype=np.int64)


def _by_counting(a: Tensor, b: Tensor) -> Tensor:
    rank_a, sorted_a = _ranks(a.numpy())
    rank_b, sorted_b = _ranks(b.numpy())
    c = a.shape[1]
    shift = 16 if c < 2**15 else 32
    # by a, and among equal ones by b, whose pairs are then no inversions
    joint = np.sort((rank_a << shift) | rank_b, axis=1)
    ties_a, ties_b, ties = (_tied(x) for x in (sorted_a, sorted_b, joint))
    pairs = c * (c - 1) / 2
    agreeing_less_not = pairs - ties_a - ties_b + ties - 2 * _inversions(joint & ((1 << shift) - 1))
    with np.errstate(invalid="ignore"):
        tau = agreeing_less_not / np.sqrt((pairs - ties_a) * (pairs - ties_b))
    return torch.from_numpy(tau).to(a.dtype)


def _ranks(x: NDArray[np.floating]) -> tuple[Whole, Whole]:
    """``(n, c)``: rank of each value, equal ones alike, from 0; and the same in rising order."""
    kind = np.int32 if x.shape[1] < 2**15 else np.int64
    order = np.argsort(x, axis=1)
    rising = np.take_along_axis(x, order, 1)
    ranks = np.zeros(x.shape, kind)
    np.cumsum(rising[:, 1:] != rising[:, :-1], axis=1, dtype=kind, out=ranks[:, 1:])
    placed = np.empty_like(ranks)
    placed.reshape(-1)[order + np.arange(len(x))[:, None] * x.shape[1]] = ranks
    return placed, ranks


def _tied(rising: Whole) -> NDArray[np.float64]:
    """How many pairs of a sorted row are equal: each value with those before it in its run."""
    equal = rising[:, 1:] == rising[:, :-1]
    if not equal.any():
        return np.zeros(len(rising))
    place = np.arange(rising.shape[1])
    start = np.where(np.pad(equal, ((0, 0), (1, 0))), 0, place)
    return (place - np.maximum.accumulate(start, 1)).sum(1).astype(np.float64)


def _inversions(y: Whole) -> NDArray[np.float64]:
    """How many pairs of places of a row hold the larger value first.

    Both lie in one block of places, or in one block of ranks, or in two blocks of either, which are told by counts.
    """
    n, c = y.shape
    k = -(-c // BLOCK)
    m = k * BLOCK
    place = np.arange(m, dtype=y.dtype)
    shift = 16 if y.dtype == np.int32 else 32
    packed = np.empty((n, m), y.dtype)
    packed[:, :c] = (y << shift) | place[:c]
    packed[:, c:] = (place[c:] << shift) | place[c:]  # what fills the last block is in order
    packed.sort(1)
    small = np.int16 if c < 2**14 else np.int64
    at = packed & ((1 << shift) - 1)  # the place of each rank, equal values in the order of places
    rows = np.arange(n)[:, None]
    rank = np.empty((n, m), small)
    rank.reshape(-1)[at + rows * m] = place.astype(small)
    block_of_place, block_of_rank = place // BLOCK, rank >> (BLOCK.bit_length() - 1)
    cell = (rows * (k * k) + block_of_place * k) + block_of_rank
    held = np.bincount(cell.reshape(-1), minlength=n * k * k).reshape(n, k, k).astype(np.float64)
    earlier = np.cumsum(held, 1) - held
    earlier_above = np.flip(np.cumsum(np.flip(earlier, 2), 2), 2) - earlier
    across = np.einsum("nij,nij->n", earlier_above, held)
    inside_ranks = _inside((at >> (BLOCK.bit_length() - 1)).astype(small), k)
    return across + _inside(rank, k) + inside_ranks


def _inside(values: Whole, k: int) -> NDArray[np.float64]:
    """Inversions inside each block of a row."""
    blocks = np.ascontiguousarray(values.reshape(-1, BLOCK).T)  # (BLOCK, n * k)
    bits = 8 * blocks.itemsize - 1
    found = np.zeros(blocks.shape[1], blocks.dtype)
    for i in range(BLOCK - 1):  # the sign of a difference, -1 where the later is the smaller
        found -= np.add.reduce((blocks[i + 1 :] - blocks[i]) >> bits, axis=0, dtype=blocks.dtype)
    return found.reshape(-1, k).sum(1, dtype=np.float64)
