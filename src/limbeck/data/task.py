"""A task: what a student learns, from whom, linked how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limbeck.data.base import View
from limbeck.data.splits import Splits
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.problems.base import Problem
from limbeck.signals.links.base import Link

TEACHER = "teacher"  # the name of the only one


@dataclass(frozen=True)
class TeacherSide:
    """One teacher's modality, and what links it to the student's.

    Args:
        splits: by role: ``train``, ``validation``, ``test`` to make and judge the teacher, ``link`` = the rows that it
            is asked about (those that ``link`` names).
        link: what is known between the student's training rows and ``splits["link"]``.
        views: ``weak`` and ``strong`` augmentations of its inputs, for a teacher that is trained here.
        preprocessor: how a raw file of its modality becomes its inputs, as :class:`Task` has it of the student's.
    """

    splits: Splits
    link: Link
    views: Mapping[str, View] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Everything a distillation run reads: data of all modalities and what links them.

    Args:
        name: for reports.
        splits: the student's modality by role: ``train``, ``validation``, ``test`` and further final splits such as
            ``test_unseen``, guarded (see ``data/splits.py``).
        teachers: name to the side of that teacher; of only one, ``teacher``.
        views: ``weak`` and ``strong`` augmentations of the student's inputs.
        truth: ``[len(splits["train"])]`` int64, the true classes of the training rows where they are known,
            -100 elsewhere. Only for upper-bound arms and diagnosis: no training code reads it.
        preprocessor: how a raw file of the student's modality becomes its inputs: ``{"kind": "log_mel" | "image" |
            "series" | "table", ...}``, JSON-able; it is shipped with the student.
        info: facts for the report (origins, counts, skipped files), JSON-able.
    """

    name: str
    splits: Splits
    teachers: Mapping[str, TeacherSide] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    truth: Tensor | None = None
    preprocessor: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """What is asked of the student."""
        return self.splits["train"].problem

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.problem.names

    @property
    def teacher(self) -> TeacherSide:
        """The side of the only teacher."""
        if len(self.teachers) != 1:
            raise ConfigError(
                f"The task {self.name!r} has {len(self.teachers)} teachers ({', '.join(self.teachers) or 'none'}); "
                "name one of them."
            )
        return next(iter(self.teachers.values()))

    def side(self, name: str) -> TeacherSide:
        """The side of a teacher by name; UnknownNameError names the nearest."""
        if name not in self.teachers:
            raise UnknownNameError(
                f"The task {self.name!r} has no teacher {name!r}; {nearest(name, self.teachers)}"
            )
        return self.teachers[name]
