"""The two streams: which labelled rows, unlabelled rows or bags make a step. Holds no state, so resuming is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from limbeck.errors import ConfigError
from limbeck.seeding import keyed_generator
from limbeck.signals.links.base import Draw

Item = TypeVar("Item")
FEW = 2**16  # units of which a step may draw a permutation


class Draws(Dataset):
    """The map-style data set of the Trainer: an item is its own :class:`Draw`; the collator fetches the rows."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows

    def __len__(self) -> int:
        return self.n_rows

    def __getitem__(self, draw: Draw) -> Draw:
        return draw


class TwoStreamSampler(Sampler[list[Draw]]):
    """Batches of draws for one rank: ``accumulation`` micro-batches a step.

    A step's global batch is drawn from (seed, step): labelled rows with replacement, unlabelled rows or bags
    without. It is then cut into ``world_size * accumulation`` parts; a bag is never cut. With ``lengths`` the parts
    hold rows of like length, those of the ranks at one time the most alike; draws, and so views, stay the same.

    Args:
        labelled: row numbers that carry a label.
        unlabelled: units of the second stream: numbers ``[U]`` of single rows, or whole bags, lists of row numbers.
        n_labelled, n_units: rows and units a step.
        lengths: of all rows, ``[n]``; None = the parts keep the order of the draws.
        first_step: called at the start of an iteration; the step that a resumed run goes on with.
    """

    def __init__(
        self,
        labelled: Tensor | Sequence[int],
        unlabelled: Tensor | Sequence[Sequence[int]],
        *,
        n_labelled: int,
        n_units: int,
        max_steps: int,
        seed: int,
        accumulation: int = 1,
        rank: int = 0,
        world_size: int = 1,
        lengths: Tensor | None = None,
        first_step: Callable[[], int] = lambda: 0,
    ) -> None:
        self.labelled = torch.as_tensor(labelled, dtype=torch.long)
        self.unlabelled = (
            unlabelled if isinstance(unlabelled, Tensor) else [list(unit) for unit in unlabelled]
        )
        self.n_labelled = n_labelled if len(self.labelled) else 0
        self.n_units = min(n_units, len(self.unlabelled))
        self.max_steps, self.seed = max_steps, seed
        self.accumulation, self.rank, self.world_size = accumulation, rank, world_size
        self.lengths = None if lengths is None or accumulation * world_size == 1 else lengths.tolist()
        self._check_sizes()
        self.first_step = first_step

    def _check_sizes(self) -> None:
        if not self.n_labelled and not self.n_units:
            raise ConfigError(
                "There is nothing to train on: this data has no labelled rows (or n_labelled is 0), and no unlabelled "
                "rows that the method can use (or n_unlabelled is 0)."
            )
        parts = self.world_size * self.accumulation
        if max(self.n_labelled, self.n_units) < parts:
            raise ConfigError(
                f"A batch of {self.n_labelled} labelled rows and {self.n_units} unlabelled rows or bags cannot be cut "
                f"into {parts} parts ({self.world_size} ranks, {self.accumulation} accumulation steps) without an "
                "empty one; raise n_labelled, n_unlabelled or n_bags, or lower gradient_accumulation_steps."
            )

    def __len__(self) -> int:
        return self.max_steps * self.accumulation

    def global_batch(self, step: int) -> tuple[list[Draw], list[list[Draw]]]:
        """The labelled draws of a step, and the draws of its unlabelled units."""
        generator = keyed_generator(self.seed, step, "rows")
        labelled: list[Draw] = []
        if self.n_labelled:
            picks = torch.randint(len(self.labelled), (self.n_labelled,), generator=generator)
            rows = self.labelled[picks].tolist()
            labelled = [Draw("labelled", row, step, slot) for slot, row in enumerate(rows)]
        slot, units = len(labelled), []
        for pick in distinct(len(self.unlabelled), self.n_units, generator):
            unit = self.unlabelled[pick]
            rows = [int(unit)] if isinstance(unit, Tensor) else unit
            units.append([Draw("unlabelled", row, step, slot + i) for i, row in enumerate(rows)])
            slot += len(rows)
        return labelled, units

    def micro_batches(self, step: int) -> Iterator[list[Draw]]:
        """This rank's parts of a step."""
        labelled, units = self.global_batch(step)
        parts = self.world_size * self.accumulation
        if self.lengths is not None:
            labelled.sort(key=self._length)  # stable: equal ones keep the order of the draws
            units.sort(key=lambda unit: max(map(self._length, unit)))
        for micro in range(self.accumulation):
            part = self.rank * self.accumulation + micro
            if self.lengths is not None:
                part = micro * self.world_size + self.rank
            rows = _cut(labelled, part, parts)
            for unit in _cut(units, part, parts):
                rows = rows + unit
            yield rows

    def _length(self, draw: Draw) -> int:
        assert self.lengths is not None
        return int(self.lengths[draw.row])

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.first_step(), self.max_steps):
            yield from self.micro_batches(step)


def distinct(n: int, k: int, generator: torch.Generator) -> list[int]:
    """``k`` different numbers below ``n``, in the order drawn; of many, without a permutation of all of them."""
    if n <= FEW:
        return torch.randperm(n, generator=generator)[:k].tolist()
    found: dict[int, None] = {}
    while len(found) < k:
        found |= dict.fromkeys(torch.randint(n, (k,), generator=generator).tolist())
    return list(found)[:k]


def _cut(items: list[Item], part: int, parts: int) -> list[Item]:
    """The ``part``-th of ``parts`` nearly equal runs of ``items``."""
    return items[len(items) * part // parts : len(items) * (part + 1) // parts]
