"""The TS Aligner of ARMADA: one space for the representations of teacher and student, with a task head on each."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.layers.projectors import mlp_projector


class TSAligner(nn.Module):
    """Projects student and teacher representations into one space; trained with the student, never exported.

    Args:
        d_student, d_teacher: widths of the representations, >= 3.
        n_outputs: outputs of the task heads (classes, choices, or 1 for a regression).
        width: of the shared space, >= 1.
        depth: linear layers of each projection, >= 1; LayerNorm and GELU between them.

    Each projection starts with a LayerNorm over the row, so that teachers of any scale (a bank may hold anything) and
    students whose scale drifts give projections of one size. It has no weights of its own: the linear layer that
    follows already scales and shifts. LayerNorm and not the statistics of a batch, so that a row's projection
    does not depend on how the batch is cut. It takes two dimensions away (mean and length of a row).

    Representations come in any floating type and are taken in that of the aligner's weights.

    Raises: ConfigError for representations of fewer than 3 numbers, of which a LayerNorm leaves nothing.
    """

    def __init__(
        self, d_student: int, d_teacher: int, n_outputs: int, *, width: int = 768, depth: int = 2
    ) -> None:
        super().__init__()
        self.student_projection = _projection("student", d_student, width, depth)
        self.teacher_projection = _projection("teacher", d_teacher, width, depth)
        self.head = nn.Linear(width, n_outputs)
        self.auxiliary_head = nn.Linear(width, n_outputs)

    def project_student(self, features: Tensor) -> Tensor:
        """``[n, d_student]`` to ``[n, width]``."""
        return self.student_projection(features.to(self.head.weight.dtype))

    def project_teacher(self, features: Tensor) -> Tensor:
        """``[m, d_teacher]`` to ``[m, width]``; the teacher takes no gradient."""
        return self.teacher_projection(features.detach().to(self.head.weight.dtype))


def _projection(side: str, d_in: int, width: int, depth: int) -> nn.Sequential:
    if d_in < 3:
        raise ConfigError(
            f"The aligner needs {side} representations of 3 numbers or more; these have {d_in}, of which its LayerNorm "
            "would leave nothing."
        )
    return nn.Sequential(
        nn.LayerNorm(d_in, elementwise_affine=False),
        *mlp_projector(d_in, width, hidden=width, n_hidden=depth - 1),
    )
