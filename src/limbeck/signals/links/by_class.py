"""Rows of the same class; nothing else is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import AbsentClassError, LinkError
from limbeck.seeding import keyed_seed
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link, Source, drawn_row
from limbeck.signals.teacher_rows import TeacherRows, places


class ByClass(Link):
    """Each labelled student row meets a random teacher row of its own class.

    There is no second stream: the link says nothing of a row without a label. A shuffled control gives every class
    the signals of another class.
    """

    name: ClassVar[str] = "by_class"
    gives: ClassVar[str] = "a sample of the same class"
    goes_by_class: ClassVar[bool] = True

    def second_stream(self, keys: Sequence[Key], known: Tensor) -> Tensor:
        return torch.empty(0, dtype=torch.long)

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
        assert classes is not None  # checked before the first step
        linked = torch.nonzero(classes >= 0).squeeze(1)
        order, starts, counts = source.class_rows()
        picks = []
        for i in linked.tolist():
            c = int(classes[i])
            if c >= len(counts) or not counts[c]:
                name = repr(source.class_names[c]) if source.class_names else f"number {c}"
                raise AbsentClassError(
                    f"The bank has no row of class {name}; ask the teacher about samples of it."
                )
            picks.append(order[starts[c] + drawn_row(draws[i], int(counts[c]), seed)])
        said = source.take(np.array(picks, dtype=np.int64), signals)
        return TeacherRows.of(said, pair_index=places(len(keys), linked), n=len(keys))

    def groups(self, source: Source) -> np.ndarray:
        if source.labels is None:
            raise LinkError(
                "Shuffling a by_class link needs labels in the bank; pass labels= when it is made."
            )
        return source.labels.numpy()

    def told_classes(self, source: Source, keys: Sequence[Key], classes: Tensor) -> np.ndarray:
        """The bank's own: a row is drawn by its class."""
        return self.groups(source)

    def stand_ins(
        self, source: Source, keys: Sequence[Key], classes: Tensor | None, *, seed: int
    ) -> np.ndarray:
        """A labelled row of the same class."""
        assert classes is not None  # checked before the first step
        rng = np.random.default_rng(keyed_seed("stand_ins", seed))
        found = np.full(len(source), -1, dtype=np.int64)
        own, theirs = classes.numpy(), self.groups(source)
        for c in np.unique(own[own >= 0]):
            here = np.flatnonzero(theirs == c)
            found[here] = rng.choice(np.flatnonzero(own == c), len(here))
        return found

    def check(self, student_keys: Iterable[Key], source: Source) -> None:
        if source.labels is None:
            raise LinkError(
                "The link 'by_class' needs a bank with labels; pass labels= when the bank is made."
            )
