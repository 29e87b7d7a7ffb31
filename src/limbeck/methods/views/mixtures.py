"""Mixtures of two rows of a batch: by means (mixup), or a box of one inside the other (cutmix)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.methods.batch import StepBatch
from limbeck.problems.base import Bare
from limbeck.problems.classification import Classification


@dataclass(frozen=True)
class Mixtures:
    """Some rows of a batch, each mixed with another.

    Args:
        inputs: column to ``[m, ...]``.
        first, second: ``[m]`` int64, the rows of the batch that are in a mixture.
        share: ``[m]`` of the first one, in [0, 1].
    """

    inputs: dict[str, Tensor]
    first: Tensor
    second: Tensor
    share: Tensor

    def take(self, rows: Tensor) -> Mixtures:
        """Some of them."""
        inputs = {column: value[rows] for column, value in self.inputs.items()}
        return Mixtures(inputs, self.first[rows], self.second[rows], self.share[rows])


def joined(made: list[Mixtures]) -> Mixtures:
    """All of them, one after the other."""
    inputs = {column: torch.cat([m.inputs[column] for m in made]) for column in made[0].inputs}
    parts = (torch.cat([getattr(m, name) for m in made]) for name in ("first", "second", "share"))
    return Mixtures(inputs, *parts)


def mixtures(
    inputs: dict[str, Tensor],
    mix: str,
    alpha: float,
    draw: np.random.Generator,
    *,
    by_row: bool = False,
    partial: float = 1.0,
) -> Mixtures:
    """Each row ``[n, ...]`` mixed with one other row, all columns alike.

    Args:
        mix: ``mixup`` or ``cutmix``.    alpha: of the Beta law that a share is drawn from.
        by_row: a share for each row and not one for the batch (``mixup``).
        partial: how many of the rows are mixed, in [0, 1], on average; the others, drawn at random, stay as they are.

    Raises: DataError for inputs that are no numbers with a fraction (tokens), and, of ``cutmix``, no pictures;
    ConfigError for ``by_row`` of cutmix.
    """
    if by_row and mix == "cutmix":
        raise ConfigError("The boxes of cutmix are one for a batch; take mixup for a share for each row.")
    for column, value in inputs.items():
        if not value.is_floating_point() or (mix == "cutmix" and value.dim() != 4):
            raise DataError(
                f"The input {column!r} ({list(value.shape[1:])} a row, {value.dtype}) cannot be mixed by {mix}: "
                "mixup takes numbers with a fraction, cutmix pictures [channels, height, width]."
            )
    n = len(next(iter(inputs.values())))
    second = torch.from_numpy(draw.permutation(n))
    drawn = draw.beta(alpha, alpha, n if by_row else None)
    share = torch.as_tensor(drawn, dtype=torch.float32).expand(n).clone()
    if partial < 1:
        mixed = int(partial * n + draw.random())  # on average the share, of a few rows too
        share[torch.from_numpy(draw.permutation(n)[mixed:])] = 1.0
    if mix == "cutmix":
        return _cut(inputs, second, float(np.asarray(drawn)), share == 1, draw)
    found = {}
    for column, value in inputs.items():
        own = share.to(value).reshape(n, *[1] * (value.dim() - 1))
        found[column] = own * value + (1 - own) * value[second.to(value.device)]
    return Mixtures(found, torch.arange(n), second, share)


def _cut(
    inputs: dict[str, Tensor], second: Tensor, share: float, stays: Tensor, draw: np.random.Generator
) -> Mixtures:
    """One box for the batch, but for rows that stay; the share is then what it leaves."""
    found, left = {}, torch.ones(len(second))
    for column, value in inputs.items():
        whole: Any = (..., *_box(value.shape[2:], share, draw))
        changed = value.clone()
        changed[whole] = value[second.to(value.device)][whole]
        there = stays.to(value.device).reshape(-1, 1, 1, 1)
        found[column] = torch.where(there, value, changed)
        box = value[0, 0][whole].numel() / max(1, value[0, 0].numel()) if len(value) else 0.0
        left = torch.where(stays, left, 1 - box)
    return Mixtures(found, torch.arange(len(second)), second, left)


def _box(grid: torch.Size, share: float, draw: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a box of about 1 - ``share`` of a picture, anywhere in it, cut at its edges."""
    slices = []
    for size in grid:
        half, middle = int(size * np.sqrt(1 - share)) // 2, int(draw.integers(size))
        slices.append(slice(max(0, middle - half), min(size, middle + half)))
    return slices[0], slices[1]


def drawn_mixtures(b: StepBatch) -> np.random.Generator:
    """The draws of a batch's mixtures."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=b.generator)))


def mixed_label_loss(b: StepBatch, logits: Tensor, of: Mixtures) -> Tensor:
    r"""Sum over the mixtures of :math:`\lambda\, CE(z, y_1) + (1 - \lambda)\, CE(z, y_2)`; a row without a label adds
    nothing. Class weights and smoothing are those of the problem.

    Args:
        logits: ``[m, C]`` of the mixtures.
    """
    problem, out = cast(Classification, b.problem), Bare(logits)
    total = logits.sum() * 0.0
    for rows, share in ((of.first, of.share), (of.second, 1 - of.share)):
        device = logits.device
        losses = problem.row_losses(out, b.targets.rows(rows.to(b.targets.known.device)))
        total = total + (share.to(device, losses.dtype) * losses).sum()
    return total
