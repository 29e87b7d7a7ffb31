"""What one teacher says of a batch, and which of its rows go with which student rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.signals.output import TeacherOutput


@dataclass
class TeacherRows:
    """A teacher's rows beside ``n`` student rows.

    Args:
        said: its outputs for ``m`` rows.
        pair_index: ``[n]`` int64, the row of ``said`` that belongs to each student row, -1 = none.
        group_s: ``[n]`` int64, the bag of each student row, -1 = none.    group_t: ``[m]``, of each row of ``said``.
    """

    said: TeacherOutput
    pair_index: Tensor
    group_s: Tensor
    group_t: Tensor

    @classmethod
    def of(
        cls,
        said: TeacherOutput,
        *,
        pair_index: Tensor | None = None,
        group_s: Tensor | None = None,
        group_t: Tensor | None = None,
        n: int,
    ) -> TeacherRows:
        """With -1 in place of what the link does not say; ``n`` student rows."""
        none, m = torch.full((n,), -1, dtype=torch.long), len(said)
        return cls(
            said,
            none if pair_index is None else pair_index,
            none if group_s is None else group_s,
            torch.full((m,), -1, dtype=torch.long) if group_t is None else group_t,
        )

    def check(self, name: str, n: int) -> None:
        """Refuse an index or groups of the teacher ``name`` that are not as long as ``n`` student rows; DataError."""
        for what in ("pair_index", "group_s"):
            if (found := len(getattr(self, what))) != n:
                raise DataError(
                    f"The {what} of the teacher {name!r} has {found} entries, and the batch has {n} student rows; give "
                    "one for each row, -1 where there is none."
                )

    @property
    def is_paired(self) -> Tensor:
        """``[n]`` bool, student rows that have a row of this teacher."""
        return self.pair_index >= 0

    def paired(self) -> tuple[Tensor, TeacherOutput]:
        """Numbers ``[p]`` of the student rows that have a row of this teacher, and these ``p`` rows, aligned."""
        rows = torch.nonzero(self.is_paired).squeeze(1)
        return rows, self.said.rows(self.pair_index[rows])


def spread(teachers: Mapping[str, TeacherRows], n: int) -> tuple[Tensor, Tensor]:
    """What all teachers predict of ``n`` student rows: log-probabilities ``[n, K, C]`` (uniform where a teacher says
    nothing) and who says something, ``[n, K]`` bool; teachers in their order.

    Raises: MissingSignalError; DataError where they know different numbers of classes.
    """
    said = [rows.said.log_predictions() for rows in teachers.values()]
    if len({values.shape[-1] for values in said}) > 1:
        widths = ", ".join(f"{name} {values.shape[-1]}" for name, values in zip(teachers, said))
        raise DataError(f"Teachers that are read together must know the same classes; they know {widths}.")
    there = torch.stack([rows.is_paired for rows in teachers.values()], dim=1)
    blank = torch.full_like(said[0][:1], -math.log(said[0].shape[-1]))
    shown = [
        torch.cat([v, blank])[rows.pair_index] for v, rows in zip(said, teachers.values())
    ]  # -1: the last
    return torch.stack(shown, dim=1), there


def places(n: int, rows: Tensor) -> Tensor:
    """``[n]`` with 0, 1, 2, ... at ``rows`` and -1 elsewhere."""
    index = torch.full((n,), -1, dtype=torch.long)
    index[rows] = torch.arange(len(rows))
    return index
