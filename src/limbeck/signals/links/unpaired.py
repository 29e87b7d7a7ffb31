"""Nothing links the two sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LinkError
from limbeck.seeding import keyed_seed
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link, Source, drawn_row
from limbeck.signals.teacher_rows import TeacherRows


class Unpaired(Link):
    """Random teacher rows beside every batch, as many as it has student rows; no shuffled control exists."""

    name: ClassVar[str] = "unpaired"
    gives: ClassVar[str] = "samples that share nothing with the student's"

    def second_stream(self, keys: Sequence[Key], known: Tensor) -> Tensor:
        """All rows without a label."""
        return torch.nonzero(~known).squeeze(1)

    def rows(
        self,
        source: Source,
        keys: Sequence[Key],
        classes: Tensor | None,
        draws: Sequence[Draw],
        *,
        seed: int,
        signals: Sequence[str] | None = None,
    ) -> TeacherRows:
        picks = np.array([drawn_row(draw, len(source), seed) for draw in draws], dtype=np.int64)
        return TeacherRows.of(source.take(picks, signals), n=len(keys))

    def told_classes(self, source: Source, keys: Sequence[Key], classes: Tensor) -> np.ndarray:
        """The bank's own, where it has labels: which row goes with which stays unknown."""
        return super().told_classes(source, keys, classes) if source.labels is None else source.labels.numpy()

    def stand_ins(
        self, source: Source, keys: Sequence[Key], classes: Tensor | None, *, seed: int
    ) -> np.ndarray:
        """Any row."""
        rng = np.random.default_rng(keyed_seed("stand_ins", seed))
        return rng.integers(0, len(keys), len(source))

    def groups(self, source: Source) -> np.ndarray:
        raise LinkError(
            "For an unpaired link no such control exists: no row of the teacher belongs to a row of the student, so "
            "there is nothing to shuffle; use the control 'random' instead."
        )
