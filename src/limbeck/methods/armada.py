"""ARMADA: a frozen, possibly closed teacher of another modality, reached through a small aligner that learns too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from limbeck.functional import (
    distillation_kl,
    mean_cosine_gap,
    mean_distance,
    pair_cosine_gap,
    pair_distance,
)
from limbeck.functional.precision import widened
from limbeck.layers import TSAligner
from limbeck.methods.base import Method, StepBatch, Widths, check_range, check_types
from limbeck.methods.supervised import label_loss, supervised_term

Manifold = Literal["pairs", "means", "cosine", "cosine_means"]


@dataclass
class ARMADAConfig:
    """Settings of ``armada``; the paper's symbols in brackets. The paper tunes the weights for each task.

    Args:
        weight_supervised: float >= 0, default 1, of the student's own label loss.
        weight_logits: float >= 0, default 1 (alpha), of the match to the aligner's task output.
        weight_manifold: float >= 0, default 1 (beta), of the distance of the two projections.
        weight_auxiliary: float >= 0, default 1 (gamma), of the task head on the student's projection.
        weight_aligner: float >= 0, default 1, of the aligner's own label loss; it does not move the student.
        manifold: ``pairs`` = mean Euclidean distance of pairs, default; ``means`` = distance of the two means;
            ``cosine`` = one minus the cosine of pairs; ``cosine_means`` = one minus the cosine of the means.
        width: int >= 1, default 768 (the paper's), of the shared space.
        depth: int >= 1, default 2, linear layers of each projection.
        temperature: float > 0, default 1, of the logit match; without effect in a regression.
        match_trains_aligner: the logit match also moves the aligner, default False.
        manifold_trains_both: the manifold term also moves the teacher's projection, default False (see the class).
        teacher: ``features`` = the bank's features, default; ``text`` = the bank's texts (captions, rationales),
            which the run embeds once with a frozen text encoder.
    """

    weight_supervised: float = 1.0
    weight_logits: float = 1.0
    weight_manifold: float = 1.0
    weight_auxiliary: float = 1.0
    weight_aligner: float = 1.0
    manifold: Manifold = "pairs"
    width: int = 768
    depth: int = 2
    temperature: float = 1.0
    match_trains_aligner: bool = False
    manifold_trains_both: bool = False
    teacher: Literal["features", "text"] = "features"

    def __post_init__(self) -> None:
        check_types("armada", self)
        for name in ("supervised", "logits", "manifold", "auxiliary", "aligner"):
            check_range("armada", f"weight_{name}", getattr(self, f"weight_{name}"), 0, None)
        check_range("armada", "width", self.width, 1, None)
        check_range("armada", "depth", self.depth, 1, None)
        check_range("armada", "temperature", self.temperature, 0, None, closed_low=False)


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

    Regression: squared errors in place of cross-entropy and KL. Multiple choice: f_s is the mean over the choices
    and t belongs to the question, so that the aligner's heads predict *which place* is right; a teacher row that
    does not tell the choices apart can teach no more than the prior over places, whatever the weights.

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

    def __init__(self, config: ARMADAConfig, widths: Widths) -> None:
        super().__init__(config, widths)
        assert widths.teacher is not None  # guaranteed by `needs`
        self.aligner = TSAligner(
            widths.student, widths.teacher, widths.classes, width=config.width, depth=config.depth
        )
        if config.manifold in ("means", "cosine_means"):
            self.units = {**type(self).units, "manifold": "batch"}

    @classmethod
    def needs_for(cls, config: ARMADAConfig) -> set[str]:
        return {config.teacher}

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, teacher = b.paired_teacher()
        assert teacher.features is not None
        z_s = self.aligner.project_student(b.student.features)
        z_t = self.aligner.project_teacher(teacher.features)
        logits_a = self.aligner.head(z_t)
        targets = None if b.targets is None else b.targets[rows]
        return {
            "supervised": supervised_term(b),
            "logits": self._match(b.student.logits[rows], logits_a, is_regression=targets is not None),
            "manifold": _manifold_term(
                self.config.manifold, z_s[rows], z_t if self.config.manifold_trains_both else z_t.detach()
            ),
            "auxiliary": label_loss(self.aligner.auxiliary_head(z_s), b.labels, b.targets),
            "aligner": label_loss(logits_a, b.labels[rows], targets),
        }

    def weights(self, progress: float) -> dict[str, float]:
        return {name: getattr(self.config, f"weight_{name}") for name in type(self).units}

    def _match(self, logits_s: Tensor, logits_a: Tensor, *, is_regression: bool) -> Tensor:
        """Sum over the pairs of what keeps the student's task output from the aligner's."""
        c = self.config
        if is_regression:
            logits_s, logits_a = widened(logits_s, logits_a)
            return F.mse_loss(
                logits_s, logits_a if c.match_trains_aligner else logits_a.detach(), reduction="sum"
            )
        return distillation_kl(
            logits_s,
            logits_a,
            temperature=c.temperature,
            reduction="sum",
            trains_teacher=c.match_trains_aligner,
        )


def _manifold_term(form: Manifold, z_s: Tensor, z_t: Tensor) -> Tensor:
    if form == "means":
        return mean_distance(z_s, z_t)
    if form == "cosine_means":
        return mean_cosine_gap(z_s, z_t)
    of_pairs = pair_distance if form == "pairs" else pair_cosine_gap
    return of_pairs(z_s, z_t, reduction="sum")
