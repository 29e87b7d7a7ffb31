"""The contract of a link, and what it reads.

Axis legend: n student rows of a batch, m teacher rows, N rows of a whole side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from limbeck.errors import DataError, LinkError, some
from limbeck.seeding import keyed_seed
from limbeck.signals.key import Key
from limbeck.signals.output import TeacherOutput
from limbeck.signals.teacher_rows import TeacherRows


class Draw(NamedTuple):
    """One row of a step's global batch: ``slot`` is its place there, whatever rank or micro-batch it goes to."""

    stream: str  # "labelled" or "unlabelled"
    row: int
    step: int
    slot: int


class Source(Protocol):
    """Where a link finds a teacher's rows: a bank, or the samples that a live teacher is asked about."""

    @property
    def name(self) -> str: ...
    @property
    def keys(self) -> Sequence[Key]: ...
    @property
    def views(self) -> tuple[str, ...]: ...
    @property
    def class_names(self) -> tuple[str, ...] | None: ...
    @property
    def labels(self) -> Tensor | None: ...
    def __len__(self) -> int: ...
    def rows_of(self, keys: Iterable[Any], view: str | None = None) -> np.ndarray: ...
    def lookup(self, keys: Iterable[Any], *, signals: Sequence[str] | None = None) -> TeacherOutput: ...
    def take(self, rows: np.ndarray, signals: Sequence[str] | None = None) -> TeacherOutput: ...
    def class_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...


class Link(ABC):
    """Base of all links; a new one is a class in a file of its own, and a task brings it.

    Class attributes:
        name: as methods claim it.
        gives: what a teacher gives over it, in words, for reports.
        goes_by_class: teacher rows are found by the student's classes, which must then be the teacher's.
        in_bags: the second stream consists of whole bags (``n_bags`` a step), not of rows (``n_unlabelled``).
        keeps_order: a shuffled control keeps the order inside what it moves (the views of a key).
    """

    name: ClassVar[str]
    gives: ClassVar[str]
    goes_by_class: ClassVar[bool] = False
    in_bags: ClassVar[bool] = False
    keeps_order: ClassVar[bool] = False

    @property
    def teacher_keys(self) -> Sequence[Key]:
        """Keys of the teacher rows that the link names, each once."""
        return ()

    def among(self, keys: Iterable[Key]) -> Link:
        """The link where a teacher has only the rows of ``keys``: one that may lack rows goes on without them.

        Raises: LinkError where nothing is left.
        """
        return self

    @abstractmethod
    def second_stream(self, keys: Sequence[Key], known: Tensor) -> Tensor | list[list[int]]:
        """What is drawn beside the labelled rows: numbers ``[U]`` of single rows, or those of whole bags.

        Args:
            keys: of the N student rows.    known: ``[N]`` bool, which carry a label.
        """

    @abstractmethod
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
        """The teacher's rows for a batch.

        Args:
            keys: of the n student rows.    classes: ``[n]``, -100 = unknown.    draws: how they were drawn.
            seed: of the link's own draws, which depend on it and on a row's draw alone.
            signals: read only these.
        """

    @abstractmethod
    def groups(self, source: Source) -> np.ndarray:
        """``[N]`` int64: the group that each teacher row moves with in a shuffled control, -1 = outside the link.

        Raises: LinkError where no such control exists.
        """

    def told_classes(self, source: Source, keys: Sequence[Key], classes: Tensor) -> np.ndarray:
        """``[N]`` int64: the class of each teacher row as far as the student's own labels tell it, -1 = not at all.

        Args:
            keys: of the n student rows.    classes: ``[n]``, -100 = unknown.
        """
        return np.full(len(source), -1, dtype=np.int64)

    def stand_ins(
        self, source: Source, keys: Sequence[Key], classes: Tensor | None, *, seed: int
    ) -> np.ndarray:
        """``[N]`` int64: for each teacher row the number of a student row that may stand for it, -1 = none; among those
        that the link does not tell apart one is drawn.

        Args:
            keys: of the n student rows.    classes: ``[n]``, -100 = unknown; None for rows without classes.
        """
        raise LinkError(
            f"Over a {self.name!r} link no student row stands for a teacher row, so there is no control 'self'; take "
            "'shuffled' or 'random'."
        )

    def check(self, student_keys: Iterable[Key], source: Source) -> None:  # noqa: B027  # most name no keys
        """Every key that the link names must exist.

        Raises: DataError naming student keys, MissingKeysError naming teacher keys, LinkError.
        """


def check_student_keys(named: Mapping[Key, Any], student_keys: Iterable[Key]) -> None:
    """DataError for keys of a link that the data does not have."""
    known = set(student_keys)
    if lost := [key for key in named if key not in known]:
        raise DataError(f"The link names student keys that the data does not have: {some(lost)}.")


def drawn_row(draw: Draw, n: int, seed: int) -> int:
    """A number below ``n``, the same wherever this draw ends up."""
    return keyed_seed(seed, draw.step, draw.slot, "teacher") % n


def no_mapping(link: str, what: str, needed: bool) -> LinkError:
    """The error of a link that lacks what says which rows belong together."""
    return LinkError(f"A {link!r} link {'needs' if needed else 'takes no'} {what}.")
