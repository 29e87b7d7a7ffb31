"""Rows of the same sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LinkError, some
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link, Source, check_student_keys
from limbeck.signals.teacher_rows import TeacherRows, places


class Paired(Link):
    """Student rows whose sample the teacher saw too.

    Args:
        teacher_of: student key to teacher key, or the keys that both sides share.

    A shuffled control deranges keys: none keeps its signals.
    """

    name: ClassVar[str] = "paired"
    gives: ClassVar[str] = "its answer for each paired sample"
    keeps_order: ClassVar[bool] = True

    def __init__(self, teacher_of: Mapping[Key, Key] | Iterable[Key]) -> None:
        pairs = teacher_of if isinstance(teacher_of, Mapping) else {key: key for key in teacher_of}
        if not pairs:
            raise LinkError(f"A {self.name!r} link needs pairs (student key to teacher key); there are none.")
        self.teacher_of: dict[Key, Key] = dict(pairs)

    @property
    def teacher_keys(self) -> Sequence[Key]:
        return tuple(dict.fromkeys(self.teacher_of.values()))

    def among(self, keys: Iterable[Key]) -> Link:
        """As :meth:`_among`, where no pair is lost; otherwise unchanged, so that :meth:`check` names the lost ones."""
        found = self._among(keys)
        return type(self)(found) if len(found) == len(self.teacher_of) else self

    def _among(self, keys: Iterable[Key]) -> dict[Key, Key]:
        """The pairs that ``keys`` leave; 7 is "7" where one side has numbers and the other texts."""
        theirs = {str(key): key for key in keys}
        named = self.teacher_of.items()
        return {ours: theirs[str(their)] for ours, their in named if str(their) in theirs}

    def second_stream(self, keys: Sequence[Key], known: Tensor) -> Tensor:
        """Rows with a pair; a labelled row that has one meets its teacher in the labelled stream."""
        free = torch.nonzero(~known).squeeze(1).tolist()
        return torch.tensor([row for row in free if keys[row] in self.teacher_of], dtype=torch.long)

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
        linked = [i for i, key in enumerate(keys) if key in self.teacher_of]
        said = source.lookup([self.teacher_of[keys[i]] for i in linked], signals=signals)
        index = places(len(keys), torch.tensor(linked, dtype=torch.long))
        return TeacherRows.of(said, pair_index=index, n=len(keys))

    def groups(self, source: Source) -> np.ndarray:
        number = {key: i for i, key in enumerate(dict.fromkeys(source.keys))}
        return np.array([number[key] for key in source.keys])

    def told_classes(self, source: Source, keys: Sequence[Key], classes: Tensor) -> np.ndarray:
        """Of the rows whose partner is labelled."""
        told = {
            self.teacher_of[key]: c
            for key, c in zip(keys, classes.tolist())
            if c >= 0 and key in self.teacher_of
        }
        return np.array([told.get(key, -1) for key in source.keys], dtype=np.int64)

    def stand_ins(
        self, source: Source, keys: Sequence[Key], classes: Tensor | None, *, seed: int
    ) -> np.ndarray:
        """Its partner."""
        partner = {self.teacher_of[key]: row for row, key in enumerate(keys) if key in self.teacher_of}
        return np.array([partner.get(key, -1) for key in source.keys], dtype=np.int64)

    def check(self, student_keys: Iterable[Key], source: Source) -> None:
        check_student_keys(self.teacher_of, student_keys)
        source.rows_of(self.teacher_keys, source.views[0])


class PartlyPaired(Paired):
    """As :class:`Paired`, of some rows."""

    name: ClassVar[str] = "partly_paired"
    gives: ClassVar[str] = "its answer for the samples that are paired"

    def among(self, keys: Iterable[Key]) -> Link:
        """The pairs whose teacher row is there."""
        theirs = list(keys)
        found = self._among(theirs)
        if not found:
            raise LinkError(
                f"None of the teacher rows that the pairs name is there: they name {some(self.teacher_keys, 2)}, the "
                f"teacher has {some(theirs, 2)}; give equal keys to what belongs together."
            )
        return type(self)(found)
