"""ARMADA: a frozen, possibly closed teacher of another modality, reached through a small aligner that learns too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from limbeck.functional import (
    mean_cosine_gap,
    mean_distance,
    pair_cosine_gap,
    pair_distance,
)
from limbeck.layers import TSAligner
from limbeck.methods.base import Declared, Method, Settings, Shapes, StepBatch, Weight, setting, weight

Manifold = Literal["pairs", "means", "cosine", "cosine_means"]
_DISTANCE: dict[Manifold, Callable[[Tensor, Tensor], Tensor]] = {
    "pairs": partial(pair_distance, reduction="sum"),
    "means": mean_distance,
    "cosine": partial(pair_cosine_gap, reduction="sum"),
    "cosine_means": mean_cosine_gap,
}


@dataclass
class ARMADAConfig(Settings):
    weight_supervised: Weight = weight(1.0, "of the student's own label loss")
    weight_logits: Weight = weight(1.0, "of the match to the aligner's task output (alpha)")
    weight_manifold: Weight = weight(1.0, "of the distance of the two projections (beta)")
    weight_auxiliary: Weight = weight(1.0, "of the task head on the student's projection (gamma)")
    weight_aligner: Weight = weight(1.0, "of the aligner's own label loss; it does not move the student")
    manifold: Manifold = setting(
        "pairs",
        "pairs: mean Euclidean distance of pairs; means: distance of the two means; cosine: one minus the cosine of "
        "pairs; cosine_means: one minus the cosine of the means",
    )
    width: int = setting(768, "of the shared space", low=1)
    depth: int = setting(2, "linear layers of each projection", low=1)
    temperature: float = setting(1.0, "of the logit match; without effect in a regression", above=0)
    match_trains_aligner: bool = setting(False, "the logit match also moves the aligner")
    manifold_trains_both: bool = setting(
        False, "the manifold term also moves the teacher's projection (see below)"
    )
    teacher: Literal["features", "text"] = setting(
        "features",
        "the bank's features, or its texts (captions, rationales), embedded once by a frozen text encoder",
    )


class ARMADA(Method):
    r"""Learn a space that a frozen teacher's and the student's representations share, and the task in it, together.

    .. math::
        z_t = g_t(t),\quad z_s = g_s(f_s),\quad
        L = w_s L_y(h_s(f_s)) + \alpha\, T^2 KL(h_a(z_t)^T \,\|\, h_s(f_s)^T) + \beta M(z_s, z_t)
        + \gamma L_y(h_x(z_s)) + w_a L_y(h_a(z_t))

    with representations t of the teacher (of the student's own text: a picture drawn of it, or an embedding) and f_s
    of the student (the input of its head h_s); projections g and task heads h_a, h_x, the TS Aligner, which is
    trained along and not exported; label loss L_y; manifold term M (see ``manifold``). The teacher is never trained.
    L_y runs over labelled rows (the aligner's over those that have a teacher row), the match and M over all rows
    that have one, with a label or not: on unlabelled pairs the aligner hands labels on.

    Regression: squared errors in place of cross-entropy and KL; several labels: their binary forms. Multiple choice:
    f_s is the mean over the choices and t belongs to the question, so that the aligner's heads predict *which place*
    is right; a teacher row that does not tell the choices apart can teach no more than the prior over places,
    whatever the weights.

    The teacher's side of the aligner (g_t, h_a) learns from labels alone; the match and M draw the student towards it.
    With ``manifold_trains_both``, M also draws g_t towards the student. Its least value is then a space in which all
    rows are one, and with few labels it goes there: on a toy task with a perfect teacher, 6 labels and 294 unlabelled
    pairs, the aligner's own accuracy fell from 1.00 to 0.51 (``pairs``), and the student's from 0.58 to 0.38.

    Paper: Sengupta, Dixit, Akhtar, Chakraborty, arXiv 2603.10877. Deviations: the teacher's side is fixed in the match
    and in M unless ``match_trains_aligner``, ``manifold_trains_both``; a LayerNorm before each projection takes
    teachers of any scale; the weights are 1 and not tuned; ``cosine_means`` stands for the inner product of means,
    which has no lower bound. The forms by means couple rows (unit ``batch``: means over one micro-batch).
    """

    needs = {"features"}
    links = {"paired", "partly_paired", "by_class"}
    units = {
        "supervised": "labelled",
        "logits": "pair",
        "manifold": "pair",
        "auxiliary": "labelled",
        "aligner": "labelled",
    }
    detached = {"aligner"}
    Config = ARMADAConfig

    def __init__(self, config: ARMADAConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        student = shapes.student
        self.aligner = TSAligner(
            student.width, shapes.teacher.width, student.n_outputs, width=config.width, depth=config.depth
        )

    @classmethod
    def declared(cls, config: ARMADAConfig) -> Declared:
        couples = config.manifold in ("means", "cosine_means")
        units = {**cls.units, "manifold": "batch"} if couples else cls.units
        return super().declared(config).with_(units=units, text_as_features=config.teacher == "text")

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        z_s = self.aligner.project_student(b.student.features)
        z_t = self.aligner.project_teacher(said["features"])
        logits_a = self.aligner.head(z_t)
        return {
            "supervised": b.label_loss(),
            "logits": b.problem.match(
                b.student.logits[rows],
                logits_a,
                temperature=c.temperature,
                trains_teacher=c.match_trains_aligner,
            ),
            "manifold": _DISTANCE[c.manifold](z_s[rows], z_t if c.manifold_trains_both else z_t.detach()),
            "auxiliary": b.label_loss(self.aligner.auxiliary_head(z_s)),
            "aligner": b.label_loss(logits_a, rows),
        }
