"""Several teacher rows for each student row: one for each choice that it offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LinkError, some
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link, Source, check_student_keys
from limbeck.signals.teacher_rows import TeacherRows, places


class PairedChoices(Link):
    """Student rows of K choices, each choice with a teacher row of its own: signals come as ``[p, K, ...]``.

    Args:
        choices_of: student key to its K teacher keys, in the order of the choices; the same K for all.

    A shuffled control gives every question the rows of another question, in their order.
    """

    name: ClassVar[str] = "paired"
    gives: ClassVar[str] = "its answer for each choice of a row"
    keeps_order: ClassVar[bool] = True

    def __init__(self, choices_of: Mapping[Key, Sequence[Key]]) -> None:
        sizes = {len(keys) for keys in choices_of.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise LinkError(
                "Pairs of choices need the same number of teacher rows for every student row, at least one; these have "
                f"{some(sorted(sizes)) or 'none'}."
            )
        self.choices_of = {key: tuple(keys) for key, keys in choices_of.items()}
        (self.n_choices,) = sizes

    @property
    def teacher_keys(self) -> Sequence[Key]:
        return tuple(dict.fromkeys(key for keys in self.choices_of.values() for key in keys))

    def second_stream(self, keys: Sequence[Key], known: Tensor) -> Tensor:
        free = torch.nonzero(~known).squeeze(1).tolist()
        return torch.tensor([row for row in free if keys[row] in self.choices_of], dtype=torch.long)

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
        linked = [i for i, key in enumerate(keys) if key in self.choices_of]
        asked = [key for i in linked for key in self.choices_of[keys[i]]]
        shape = (len(linked), self.n_choices)
        said = replace(source.lookup(asked, signals=signals), text=None, labels=None)
        said = said.map_tensors(lambda value: value.unflatten(0, shape) if len(asked) else value[:, None])
        index = places(len(keys), torch.tensor(linked, dtype=torch.long))
        return TeacherRows.of(said, pair_index=index, n=len(keys))

    def groups(self, source: Source) -> np.ndarray:
        question = {key: number for number, keys in enumerate(self.choices_of.values()) for key in keys}
        return np.array([question.get(key, -1) for key in source.keys], dtype=np.int64)

    def check(self, student_keys: Iterable[Key], source: Source) -> None:
        check_student_keys(self.choices_of, student_keys)
        source.rows_of(self.teacher_keys, source.views[0])
