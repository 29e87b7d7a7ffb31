"""A task: what a student learns, from whom, linked how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limbeck.data.base import View
from limbeck.data.splits import Splits
from limbeck.signals.pairing import Pairing


@dataclass(frozen=True)
class Task:
    """Everything a distillation run reads: data of both modalities and what links them.

    Args:
        name: for reports.
        splits: the student's modality by role: ``train`` (labels -100 where unlabelled), ``validation``,
            ``test`` and further final splits such as ``test_unseen``, guarded (see ``data/splits.py``).
        teacher_splits: the teacher's modality by role: ``train``, ``validation``, ``test`` to make and judge
            the teacher, ``link`` = the rows its bank is asked about (those that ``pairing`` names).
        pairing: what is known between ``splits["train"]`` and ``teacher_splits["link"]``.
        views: ``weak`` and ``strong`` augmentations of the student's inputs.
        teacher_views: the same of the teacher's inputs, for a teacher that is trained here.
        truth: ``[len(splits["train"])]`` int64, the true classes of the training rows where they are known,
            -100 elsewhere. Only for upper-bound arms and diagnosis: no training code reads it.
        metric: what its scores are: ``accuracy``, or for regression ``pearson``.
        preprocessor: how a raw file of the student's modality becomes its inputs: ``{"kind": "log_mel" | "image" |
            "table", ...}``, JSON-able; it is shipped with the student.
        info: facts for the report (origins, counts, skipped files), JSON-able.
    """

    name: str
    splits: Splits
    teacher_splits: Splits
    pairing: Pairing
    views: Mapping[str, View] = field(default_factory=dict)
    teacher_views: Mapping[str, View] = field(default_factory=dict)
    truth: Tensor | None = None
    metric: str = "accuracy"
    preprocessor: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.splits["train"].class_names
