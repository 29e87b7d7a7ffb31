"""Groups of rows that belong together, nothing known inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LinkError, some
from limbeck.seeding import keyed_seed
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link, Source, check_student_keys
from limbeck.signals.teacher_rows import TeacherRows


class Bagged(Link):
    """A group of student rows and a group of teacher rows belong together.

    Args:
        group_s: student key to group number, from 0.    group_t: teacher key to group number; the same numbers.

    A shuffled control gives every group the signals of another group.
    """

    name: ClassVar[str] = "bagged"
    gives: ClassVar[str] = "its answers for a bag, order unknown"
    in_bags: ClassVar[bool] = True

    def __init__(self, group_s: Mapping[Key, int], group_t: Mapping[Key, int]) -> None:
        if not group_s or not group_t:
            raise LinkError("A 'bagged' link needs group_s and group_t (key to group number, of each side).")
        self.group_s, self.group_t = dict(group_s), dict(group_t)
        ours, theirs = set(self.group_s.values()), set(self.group_t.values())
        if lonely := ours ^ theirs:
            raise LinkError(f"Groups {some(sorted(lonely))} have rows of one side only; leave them out.")
        if low := [g for g in ours if g < 0]:
            raise LinkError(f"Group numbers start at 0; found {some(sorted(low))}.")
        self._members: dict[int, list[Key]] = {}
        for key, group in self.group_t.items():
            self._members.setdefault(group, []).append(key)

    @property
    def teacher_keys(self) -> Sequence[Key]:
        return tuple(self.group_t)

    def among(self, keys: Iterable[Key]) -> Link:
        """The bags without the teacher rows that are not there; a bag that has none left goes as a whole."""
        theirs = {str(key): key for key in keys}
        group_t = {theirs[str(key)]: g for key, g in self.group_t.items() if str(key) in theirs}
        left = set(group_t.values())
        if not left:
            raise LinkError(
                f"None of the teacher rows in the bags is there: they name {some(self.group_t, 2)}, the teacher has "
                f"{some(theirs.values(), 2)}; give both the same keys."
            )
        return Bagged({key: g for key, g in self.group_s.items() if g in left}, group_t)

    def second_stream(self, keys: Sequence[Key], known: Tensor) -> list[list[int]]:
        """Whole bags."""
        bags: dict[int, list[int]] = {}
        for row, key in enumerate(keys):
            if key in self.group_s:
                bags.setdefault(self.group_s[key], []).append(row)
        return list(bags.values())

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
        """The teacher's side of every bag that is here; a row that was drawn for its label stands outside."""
        group_s = [
            self.group_s.get(key, -1) if draw.stream == "unlabelled" else -1 for key, draw in zip(keys, draws)
        ]
        here = dict.fromkeys(g for g in group_s if g >= 0)
        members = [(key, g) for g in here for key in self._members[g]]
        return TeacherRows.of(
            source.lookup([key for key, _ in members], signals=signals),
            group_s=torch.tensor(group_s, dtype=torch.long),
            group_t=torch.tensor([g for _, g in members], dtype=torch.long),
            n=len(keys),
        )

    def groups(self, source: Source) -> np.ndarray:
        return np.array([self.group_t.get(key, -1) for key in source.keys])

    def stand_ins(
        self, source: Source, keys: Sequence[Key], classes: Tensor | None, *, seed: int
    ) -> np.ndarray:
        """A row of the same bag: each in turn, in an order of the bag's own."""
        members: dict[int, list[int]] = {}
        for row, key in enumerate(keys):
            if key in self.group_s:
                members.setdefault(self.group_s[key], []).append(row)
        order = {
            group: np.random.default_rng(keyed_seed("stand_ins", group, seed)).permutation(rows)
            for group, rows in members.items()
        }
        found, taken = [], dict.fromkeys(order, 0)
        for key in source.keys:
            group = self.group_t.get(key, -1)
            if group not in order:
                found.append(-1)
                continue
            found.append(int(order[group][taken[group] % len(order[group])]))
            taken[group] += 1
        return np.array(found, dtype=np.int64)

    def check(self, student_keys: Iterable[Key], source: Source) -> None:
        check_student_keys(self.group_s, student_keys)
        source.rows_of(self.teacher_keys, source.views[0])
