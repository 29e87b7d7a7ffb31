"""A teacher that is asked during the training, behind the interface of a bank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.key_index import DEFAULT_VIEW
from limbeck.data.base import Examples
from limbeck.errors import ConfigError, MissingKeysError, some
from limbeck.signals.classes import rows_by_class
from limbeck.signals.key import Key
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import in_classes, log_probs_in_classes
from limbeck.signals.teacher import AsksAhead, Teacher


class Samples:
    """The samples that a live teacher is asked about, found as a bank's rows are; the answers come later.

    Args:
        examples: rows of the teacher's modality.
        order: ``[N]``, for each row the row whose sample stands in its place (a shuffled control).
        kept: columns that stay in their place all the same (the answers that a teacher of answers scores).
    """

    views = (DEFAULT_VIEW,)
    name = "the samples of a live teacher"

    def __init__(self, examples: Examples, order: np.ndarray | None = None, kept: Sequence[str] = ()) -> None:
        self.examples, self.order, self.kept = examples, order, tuple(kept)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def keys(self) -> Sequence[Key]:
        return self.examples.keys

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self.examples.class_names

    @property
    def labels(self) -> Tensor | None:
        """``[N]``, -100 = unknown; None if no row has one."""
        return self.examples.labels if bool(self.examples.targets.known.any()) else None

    @cached_property
    def _row_of(self) -> dict[Key, int]:
        return {key: row for row, key in enumerate(self.examples.keys)}

    def rows_of(self, keys: Iterable[Any], view: str | None = None) -> np.ndarray:
        """Row numbers of keys; MissingKeysError names those that are not there."""
        asked = list(keys)
        if lost := [key for key in asked if key not in self._row_of]:
            raise MissingKeysError(
                f"The teacher's samples lack {len(lost)} of the {len(asked)} keys asked for: {some(lost)}."
            )
        return np.array([self._row_of[key] for key in asked], dtype=np.int64)

    def lookup(self, keys: Iterable[Any], *, signals: Sequence[str] | None = None) -> TeacherOutput:
        """The samples of ``keys``, in their order."""
        return self.take(self.rows_of(keys))

    def take(self, rows: np.ndarray, signals: Sequence[str] | None = None) -> TeacherOutput:
        """The samples of row numbers."""
        moved = rows if self.order is None else self.order[rows]
        labels = self.examples.labels[torch.from_numpy(np.asarray(rows))]
        inputs = self.examples.rows(moved)
        if self.order is not None and self.kept:
            inputs |= {name: value for name, value in self.examples.rows(rows).items() if name in self.kept}
        return TeacherOutput(inputs=inputs, labels=labels)

    def class_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows sorted by class, and where each class starts and how many rows it has."""
        return rows_by_class(self.examples.labels.numpy(), len(self.examples.class_names))


class OfNoRows:
    """A teacher that can be asked about no rows, as of a batch without a pair; most models cannot be.

    Args:
        said: what it says of some rows, from which the shapes are taken.
    """

    def __init__(self, teacher: Teacher, said: TeacherOutput) -> None:
        self.teacher = teacher
        self._nothing = said.rows(torch.zeros(0, dtype=torch.int64)).map_tensors(Tensor.detach)

    def __call__(self, inputs: Any) -> TeacherOutput:
        empty = isinstance(inputs, Mapping) and any(len(column) == 0 for column in inputs.values())
        return replace(self._nothing) if empty else self.teacher(inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.teacher, name)


class InClasses:
    """A teacher whose logits, log-probabilities and head come in the order of the student's classes.

    Args:
        picked: for each class of the student its number among the teacher's.
    """

    def __init__(self, teacher: Teacher, picked: Sequence[int]) -> None:
        self.teacher, self.picked = teacher, torch.tensor(picked)

    def __call__(self, inputs: Any) -> TeacherOutput:
        said = self.teacher(inputs)
        if said.logits is not None:
            said.logits = in_classes(said.logits, self.picked)
        if said.log_probs is not None:
            said.log_probs = log_probs_in_classes(said.log_probs, self.picked)
        head = said.head or self.teacher.head
        if head is not None:
            said.head = (head[0][self.picked], None if head[1] is None else head[1][self.picked])
        return said

    def __getattr__(self, name: str) -> Any:
        return getattr(self.teacher, name)


class LiveTeacher:
    """An open model in the training process, in the place of a bank (``run(recipe, bank=LiveTeacher(...))``).

    It is asked in every step, without gradient, in the process that trains; it costs a forward pass of the teacher each
    time, where a bank costs a look-up.

    Args:
        teacher: a :class:`ModuleTeacher`, :class:`HFTeacher` or any other that answers at once.
        examples: the samples that the link is about.
        view: ``teacher``: it is asked about its own samples of the rows; ``same``: about what the student is shown.

    Raises: ConfigError for a teacher behind a server, and for a view that does not exist.
    """

    def __init__(
        self, teacher: Teacher, examples: Examples, *, view: Literal["teacher", "same"] = "teacher"
    ) -> None:
        check_live(teacher)
        if view not in ("teacher", "same"):
            raise ConfigError(
                f"A live teacher sees view 'teacher' (its own samples) or 'same', not {view!r}."
            )
        self.teacher, self.samples, self.view = teacher, Samples(examples), view

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def probe(self) -> TeacherOutput:
        """What it says of two rows (of one, where there is no second)."""
        said = self.teacher(self.samples.examples.rows(range(min(2, len(self.samples)))))
        head = said.head or self.teacher.head
        return said if head is None else replace(said, head=head)


def check_live(teacher: Any) -> None:
    """Refuse a teacher that cannot be asked in every step.

    Raises: ConfigError for one behind a server.
    """
    if isinstance(teacher, AsksAhead):
        raise ConfigError(
            f"A {type(teacher).__name__} answers over a network and may be paid by the question, so it cannot be live; "
            "ask it once into a bank (limbeck bank build) and name the bank."
        )
