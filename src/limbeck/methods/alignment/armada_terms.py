"""The distances of ARMADA's terms, ours and the paper's, and what its rows are.

Axis legend: p paired rows, K choices, w width of the shared space, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import (
    mean_distance,
    mean_product_gap,
    pair_cosine_gap,
    pair_distance,
)
from limbeck.methods.alignment.armada_settings import ARMADAConfig, Manifold
from limbeck.methods.base import StepBatch
from limbeck.problems.base import Problem

DISTANCE: dict[Manifold, Callable[[Tensor, Tensor], Tensor]] = {
    "pairs": partial(pair_distance, reduction="sum"),
    "cosine": partial(pair_cosine_gap, reduction="sum"),
    "elementwise": partial(pair_distance, reduction="sum"),
    "euclid": mean_distance,
    "cosine_verbatim": mean_product_gap,
}
OF_MEANS = ("euclid", "cosine_verbatim")


def match_distance(c: ARMADAConfig, problem: Problem, logits_s: Tensor, logits_t: Tensor) -> Tensor:
    """What keeps the student's predictions from the aligner's, ``[p, C]`` each: a sum over the rows."""
    if c.match == "kl":
        return problem.match(
            logits_s, logits_t, temperature=c.softness, trains_teacher=c.match_trains_aligner
        )
    p_s, p_t = (problem.predictions(logits / c.softness) for logits in (logits_s, logits_t))
    return pair_distance(p_s, p_t if c.match_trains_aligner else p_t.detach(), reduction="sum")


def manifold_distance(c: ARMADAConfig, z_s: Tensor, z_t: Tensor) -> Tensor:
    """The manifold term of projections ``[p, w]``, or ``[p, K, w]``, of which it is a mean over the choices."""
    found = DISTANCE[c.manifold](z_s.flatten(0, -2), z_t.flatten(0, -2))
    return found if z_s.ndim == 2 or c.manifold in OF_MEANS else found / z_s.shape[1]


def check_rows(features: Tensor, teacher_row: str) -> None:
    """Refuse a teacher's rows ``[p, D]`` or ``[p, K, D]`` that are not those of the setting; ConfigError."""
    if (features.ndim == 3) != (teacher_row == "choice"):
        found = "for each choice" if features.ndim == 3 else "for the question alone"
        mend = (
            "choice, or link questions alone"
            if features.ndim == 3
            else "row, or data.config.teacher_rows: choice"
        )
        raise ConfigError(f"The teacher has a row {found}; set method.config.teacher_row: {mend}.")


def of_choices(b: StepBatch) -> Tensor:
    """The student's features of each choice, ``[n, K, d]``; ConfigError where a row offers none."""
    if b.student.of_choices is None:
        raise ConfigError("Only rows of several choices have a teacher row for each; set teacher_row: row.")
    return b.student.of_choices
