"""The TS Aligner of ARMADA, in our form and in the paper's: one space for teacher and student, with task heads.

Axis legend: n student rows, m teacher rows, d student width, D teacher width, h inner width, C outputs.
"""

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
        self.student_projection = projection("student", d_student, width, depth)
        self.teacher_projection = projection("teacher", d_teacher, width, depth)
        self.head = nn.Linear(width, n_outputs)
        self.auxiliary_head = nn.Linear(width, n_outputs)

    @property
    def teacher_side(self) -> tuple[nn.Module, ...]:
        """What reads the teacher."""
        return self.teacher_projection, self.head

    def project_student(self, features: Tensor) -> Tensor:
        """``[n, d]`` to ``[n, width]``."""
        return self.student_projection(features.to(self.head.weight.dtype))

    def project_teacher(self, features: Tensor) -> Tensor:
        """``[m, D]`` to ``[m, width]``; the teacher takes no gradient."""
        return self.teacher_projection(features.detach().to(self.head.weight.dtype))

    def read_teacher(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[m, D]`` to what the task head reads, and the projection ``[m, width]``: here the same."""
        z_t = self.project_teacher(features)
        return z_t, z_t


class TwoHeadAligner(nn.Module):
    """The aligner of the paper's table 1: the task head reads an inner layer, the auxiliary heads the projections.

    A teacher's row passes a linear layer and a GELU to the inner width h, which the task head reads; a linear map of
    h, whose weights start orthogonal, is its projection. The student's projection is a linear map of its features, the
    input of its own head: the nonlinear layer that the paper puts before them is the student's own (BERT's pooler).

    Args:
        d_student, d_teacher: widths of the representations, >= 1.
        n_outputs: outputs of the task heads.
        width: of the shared space.    hidden: h, by default ``width``.

    Nothing is normalised, as nothing is in the paper: representations far from the size of 1 want a rate of their own.
    Representations come in any floating type and are taken in that of the aligner's weights.
    """

    def __init__(
        self, d_student: int, d_teacher: int, n_outputs: int, *, width: int = 768, hidden: int | None = None
    ) -> None:
        super().__init__()
        hidden = hidden or width
        self.teacher_hidden = nn.Sequential(nn.Linear(d_teacher, hidden), nn.GELU())
        self.teacher_projection = nn.Linear(hidden, width)
        self.student_projection = nn.Linear(d_student, width)
        self.head = nn.Linear(hidden, n_outputs)
        self.teacher_auxiliary_head = nn.Linear(width, n_outputs)
        self.auxiliary_head = nn.Linear(width, n_outputs)
        for projection in (self.teacher_projection, self.student_projection):
            nn.init.orthogonal_(projection.weight)

    @property
    def teacher_side(self) -> tuple[nn.Module, ...]:
        """What reads the teacher."""
        return self.teacher_hidden, self.teacher_projection, self.head, self.teacher_auxiliary_head

    def project_student(self, features: Tensor) -> Tensor:
        """``[n, d]`` to ``[n, width]``."""
        return self.student_projection(features.to(self.head.weight.dtype))

    def read_teacher(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[m, D]`` to what the task head reads, ``[m, h]``, and the projection ``[m, width]``; the teacher takes no
        gradient."""
        h_t = self.teacher_hidden(features.detach().to(self.head.weight.dtype))
        return h_t, self.teacher_projection(h_t)


def projection(side: str, d_in: int, width: int, depth: int) -> nn.Sequential:
    """From representations of one side ``[n, d_in]``, whatever their scale, to ``[n, width]``; ConfigError below 3
    numbers."""
    if d_in < 3:
        raise ConfigError(
            f"The aligner needs {side} representations of 3 numbers or more; these have {d_in}, of which its LayerNorm "
            "would leave nothing."
        )
    return nn.Sequential(
        nn.LayerNorm(d_in, elementwise_affine=False),
        *mlp_projector(d_in, width, hidden=width, n_hidden=depth - 1),
    )
