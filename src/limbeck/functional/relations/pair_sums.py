r"""Sums over all pairs of rows of two clouds, of a kernel of their distance and of its slope.

All pairs are visited in tiles, so that no (n, m) matrix exists at any size. A tile takes two matrix products:
squared distances come from the rows ``[-2x, |x|^2, 1]`` and ``[y, 1, |y|^2]``, and the slope of the kernel
times ``[y, 1, |y|^2]`` gives everything that the gradient needs.

Axis legend: n - student rows, m - teacher rows, d - features, i, j - rows of one tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TILE_ROWS, TILE_COLUMNS = 256, 2048


def _rbf(square: Tensor, width: float, b: Tensor) -> tuple[Tensor, float]:
    scale = -0.5 / width**2
    square.mul_(scale).exp_()
    return square.mv(b), scale


def _energy(square: Tensor, width: float, b: Tensor) -> tuple[Tensor, float]:
    values = square.sqrt_().mv(b).neg_()
    _inverse_of_positive(square)
    return values, -0.5


def _laplacian(square: Tensor, width: float, b: Tensor) -> tuple[Tensor, float]:
    distance = square.sqrt()
    torch.mul(distance, -1.0 / width, out=square).exp_()
    values = square.mv(b)
    square.mul_(_inverse_of_positive(distance))
    return values, -0.5 / width


def _imq(square: Tensor, width: float, b: Tensor) -> tuple[Tensor, float]:
    square.mul_(width**-2).add_(1.0).rsqrt_()
    values = square.mv(b)
    square.pow_(3)
    return values, -0.5 / width**2


def _inverse_of_positive(x: Tensor) -> Tensor:
    """``1 / x`` in place, 0 where x is 0: rows that coincide do not pull."""
    return F.threshold(x, 0.0, float("inf"), inplace=True).reciprocal_()


# name -> (squared distances, overwritten by slope; bandwidth; weights b) -> (kernel @ b, factor), where
# factor * slope is the derivative of the kernel with respect to the squared distance
PROFILES = {"rbf": _rbf, "energy": _energy, "laplacian": _laplacian, "imq": _imq}


@dataclass(frozen=True)
class Profile:
    """A kernel with its bandwidths; several bandwidths are summed."""

    kernel: str
    widths: tuple[float, ...]

    @property
    def at_zero(self) -> float:
        return 0.0 if self.kernel == "energy" else float(len(self.widths))

    def __call__(self, square: Tensor, b: Tensor) -> tuple[Tensor, Tensor, float]:
        """``kernel @ b``, and the slope as matrix times factor; uses up ``square``."""
        profile = PROFILES[self.kernel]
        if len(self.widths) == 1:
            values, factor = profile(square, self.widths[0], b)
            return values, square, factor
        values, slope = torch.zeros_like(square[:, 0]), torch.zeros_like(square)
        for width in self.widths:
            own = square.clone()
            own_values, factor = profile(own, width, b)
            values += own_values
            slope.add_(own, alpha=factor)
        return values, slope, 1.0


class Side:
    """One cloud, moved by ``centre``: far from the origin squared distances lose digits.

    ``weights`` are 1 by default; ``length`` is the squared length, less what rounding may have added to it.
    """

    def __init__(self, x: Tensor, weights: Tensor | None, centre: Tensor) -> None:
        self.x = x - centre
        self.weights = x.new_ones(len(x)) if weights is None else weights
        self.is_even = weights is None
        self.mass = float(len(x)) if weights is None else float(weights.sum())
        self.square_mass = float(len(x)) if weights is None else float(weights.square().sum())
        length = (self.x * self.x).sum(1, keepdim=True)
        self.length = length * (1 - 4 * torch.finfo(x.dtype).eps)

    def left(self, rows: slice) -> Tensor:
        length = self.length[rows]
        return torch.cat((self.x[rows] * -2.0, length, torch.ones_like(length)), 1)

    def right(self, rows: slice) -> Tensor:
        length = self.length[rows]
        return torch.cat((self.x[rows], torch.ones_like(length), length), 1)

    def weighted(self, right: Tensor, rows: slice) -> Tensor:
        return right if self.is_even else right * self.weights[rows, None]


@dataclass
class Sums:
    """``sum_ij a_i b_j k_ij`` and, for each row i, ``sum_j b_j k'_ij [y_j, 1, .]``."""

    total: Tensor
    pull: Tensor

    def gradient(self, side: Side) -> Tensor:
        """``a_i sum_j b_j k'_ij 2 (x_i - y_j)``: the gradient through the first argument of the kernel."""
        width = side.x.shape[1]
        gradient = torch.addcmul(-self.pull[:, :width], self.pull[:, width : width + 1], side.x)
        return gradient.mul_(2.0 * side.weights[:, None])


class Pairs:
    """Visits all pairs of rows, tile by tile, in one buffer."""

    def __init__(self, profile: Profile, like: Tensor, wants_gradient: bool = False) -> None:
        self.profile, self.wants_gradient = profile, wants_gradient
        self.buffer = like.new_empty(TILE_ROWS * TILE_COLUMNS)

    def _squares(self, left: Tensor, right: Tensor) -> Tensor:
        square = self.buffer[: len(left) * len(right)].view(len(left), len(right))
        # lengths shrunk by the rounding error take what cannot be told from zero below it: equal rows give 0
        return torch.mm(left, right.T, out=square).clamp_min_(0.0)

    def between(self, s: Side, t: Side) -> Sums:
        """Over all rows of ``s`` and ``t``, which must have been moved by the same centre."""
        sums = _no_sums(s)
        for columns in slices(0, len(t.x), TILE_COLUMNS):
            right = t.right(columns)
            weighted = t.weighted(right, columns)
            for rows in slices(0, len(s.x), TILE_ROWS):
                square = self._squares(s.left(rows), right)
                values, slope, factor = self.profile(square, t.weights[columns])
                sums.total += values.dot(s.weights[rows])
                if self.wants_gradient:
                    sums.pull[rows].addmm_(slope, weighted, alpha=factor)
        return sums

    def within(self, s: Side) -> Sums:
        """A cloud with itself: only tiles on and above the diagonal, which serve the other half too."""
        sums = _no_sums(s)
        for rows in slices(0, len(s.x), TILE_ROWS):
            left = s.left(rows)
            for columns in slices(rows.start, len(s.x), TILE_COLUMNS):
                right = s.right(columns)
                weighted = s.weighted(right, columns)
                square = self._squares(left, right)
                b, mirrored = s.weights[columns], 0
                if columns.start == rows.start:  # the diagonal block holds both halves: count it once
                    mirrored, own = len(left), weighted[: len(left)]
                    square[:, :mirrored].fill_diagonal_(0.0)
                    b = torch.cat((b[:mirrored] * 0.5, b[mirrored:]))
                values, slope, factor = self.profile(square, b)
                sums.total += 2.0 * values.dot(s.weights[rows])
                if not self.wants_gradient:
                    continue
                sums.pull[rows].addmm_(slope, weighted, alpha=factor)
                if len(right) > mirrored:
                    sums.pull[columns][mirrored:].addmm_(slope[:, mirrored:].T, own, alpha=factor)
        return sums


def _no_sums(s: Side) -> Sums:
    return Sums(s.x.new_zeros(()), s.x.new_zeros(len(s.x), s.x.shape[1] + 2))


def slices(start: int, stop: int, step: int) -> Iterator[slice]:
    return (slice(i, min(i + step, stop)) for i in range(start, stop, step))
