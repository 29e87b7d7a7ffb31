"""What a student shows of rows: features and logits, in evaluation mode, without a view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.errors import NonFiniteError, some
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student

BATCH = 256


@torch.no_grad()
def shown(student: Student, examples: Examples, rows: Sequence[int] | Tensor | None = None) -> StudentOutput:
    """Features ``[n, d]`` and logits ``[n, C]`` of the given rows (default all), float32 on the CPU; the student's
    training flag stays as it was.

    Raises: NonFiniteError naming a row whose features are not finite.
    """
    numbers = list(range(len(examples))) if rows is None else [int(row) for row in rows]
    device = next(student.parameters()).device
    training, features, logits = student.training, [], []
    student.eval()
    for start in range(0, len(numbers), BATCH):
        inputs = examples.rows(numbers[start : start + BATCH])
        out = student({name: value.to(device) for name, value in inputs.items()})
        features.append(out.features.float().cpu())
        logits.append(out.logits.float().cpu())
    student.train(training)
    shown_features = torch.cat(features)
    if bool((wrong := ~torch.isfinite(shown_features).all(1)).any()):
        keys = [examples.keys[numbers[row]] for row in torch.nonzero(wrong).squeeze(1).tolist()]
        raise NonFiniteError(
            f"The student's features of {len(keys)} rows are NaN or infinite before any training ({some(keys, 3)}); "
            "check these inputs and the student's weights."
        )
    return StudentOutput(shown_features, torch.cat(logits))
