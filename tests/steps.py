"""A step's batch by hand: what a method sees, without data, sampler or student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.methods.batch import PeerRows, StepBatch
from limbeck.methods.declared import Shapes, Side
from limbeck.problems.base import Problem, Targets
from limbeck.problems.classification import Classification, numbered
from limbeck.signals.output import TeacherOutput
from limbeck.signals.teacher_rows import TeacherRows
from limbeck.students.output import StudentOutput


def shapes(student: int, teacher: int | None, outputs: int) -> Shapes:
    """Feature widths of both sides, and the width of the student's logits."""
    return Shapes(Side(student, outputs), {} if teacher is None else {"teacher": Side(teacher)})


def step_batch(
    student: StudentOutput,
    said: TeacherOutput | None = None,
    *,
    pairs: Sequence[int] | None = None,
    labels: Sequence[int] | None = None,
    targets: Targets | None = None,
    problem: Problem | None = None,
    group_s: Sequence[int] | None = None,
    group_t: Sequence[int] | None = None,
    ema: StudentOutput | None = None,
    **others: Any,
) -> StepBatch:
    """``labels`` (-100 = unknown) of a classification, or ``targets`` of another ``problem``."""
    n = len(student.logits)

    def numbers(values: Sequence[int] | None) -> Tensor | None:
        return None if values is None else torch.tensor(values, dtype=torch.long)

    rows = None if said is None else TeacherRows.of(
        said, pair_index=numbers(pairs), group_s=numbers(group_s), group_t=numbers(group_t), n=n
    )  # fmt: skip
    names = tuple(map(str, range(student.logits.shape[-1])))
    return StepBatch(
        inputs={},
        targets=numbered(labels if labels is not None else [-100] * n) if targets is None else targets,
        problem=problem or Classification(names),
        teachers={} if rows is None else {"teacher": rows},
        peers={} if ema is None else {"ema": PeerRows(ema, torch.arange(n))},
        student=student,
        **others,
    )
