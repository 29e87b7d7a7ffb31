"""ARMADA: a frozen, possibly closed teacher of another modality, reached through a small aligner that learns too."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.layers import TSAligner, TwoHeadAligner
from limbeck.methods.alignment.armada_settings import ARMADAConfig
from limbeck.methods.alignment.armada_terms import (
    OF_MEANS,
    check_rows,
    manifold_distance,
    match_distance,
    of_choices,
)
from limbeck.methods.base import Curve, Declared, Method, Shapes, StepBatch, Weight
from limbeck.methods.presets import Preset

_OF_LABELS, _OF_MATCH = ("supervised", "auxiliary"), ("logits", "auxiliary_logits")


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
    f_s is the mean over the choices and t belongs to the question, so that the heads predict *which place* is right
    and no more than the prior over places can be taught; with ``teacher_row: choice`` each choice has f_s and t of its
    own, and the heads score it.

    The teacher's side of the aligner (g_t, h_a) learns from labels alone; the match and M draw the student towards it.
    With ``manifold_trains_both``, M also draws g_t towards the student, whose least value is a space in which all rows
    are one: on a toy task the aligner's own accuracy fell from 1.00 to 0.51 and the student's from 0.58 to 0.38.

    The paper's own forms are the presets ``armada_paper_cosine``, ``armada_paper_euclid`` and
    ``armada_paper_elementwise``: with an inner layer u = g(t), :math:`z_t = P_t u`, :math:`z_s = P_s f_s` and heads
    h_a on u, h_b on z_t, h_x on z_s,

    .. math::
        L = (1 - \alpha) L_y(h_s) + \alpha \| p_\tau(h_a) - p_\tau(h_s) \|_2 + \beta M
        + \gamma \big[(1 - \alpha) L_y(h_x) + \alpha \| p_\tau(h_b) - p_\tau(h_x) \|_2\big]
        + L_y(h_a) + \gamma L_y(h_b)

    where :math:`p_\tau(z) = \mathrm{softmax}(z / \tau)` (z / tau in a regression).

    Paper: Sengupta, Dixit, Akhtar, Chakraborty, arXiv 2603.10877, equations 1 to 5 and table 1. Deviations of
    ``armada``: KL at T = 1 in place of the distance at 5; one head for O_ts and O_aux; no auxiliary head on the
    teacher's side; weights of 1, not tuned; a LayerNorm before each projection takes teachers of any scale; ``cosine``
    goes by pairs and is normalised. Of the presets: rows without a label take part in the matches and
    in M, which the paper does not have; "orthogonal" projections start orthogonal; the rate of the aligner is
    ``training.method_learning_rate``. The forms by means couple rows (unit ``batch``: means over one micro-batch).
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

    stand_in: Tensor

    def __init__(self, config: ARMADAConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        student, n_teacher = shapes.student, shapes.teacher.width
        widths = (student.width, n_teacher, 1 if config.teacher_row == "choice" else student.n_outputs)
        self.aligner: TSAligner | TwoHeadAligner
        if config.heads == "one":
            self.aligner = TSAligner(*widths, width=config.width, depth=config.depth)
        else:
            self.aligner = TwoHeadAligner(*widths, width=config.width)
        if config.pretrain == "reconstruction":
            self.decoder = nn.Linear(config.width, n_teacher)
        if config.aligner == "without_teacher":
            self.register_buffer("stand_in", torch.randn(student.width, n_teacher) / student.width**0.5)
        if config.aligner == "frozen":
            for part in self.aligner.teacher_side:
                part.requires_grad_(False)

    @classmethod
    def declared(cls, config: ARMADAConfig) -> Declared:
        declared = super().declared(config).with_(text_as_features=config.teacher == "text")
        if config.pretrain != "no":
            if config.aligner != "trained":
                raise ConfigError(
                    f"An aligner that is {config.aligner!r} has no stage of its own; leave out pretrain, or aligner."
                )
            unit = "labelled" if config.pretrain == "labels" else "pair"
            return declared.with_(units={"aligner": unit}, student="asked")
        units = {**cls.units, "manifold": "batch"} if config.manifold in OF_MEANS else dict(cls.units)
        if config.heads == "two":
            units |= {"auxiliary_logits": "pair", "aligner_auxiliary": "labelled"}
        if config.aligner == "frozen":
            units = {name: unit for name, unit in units.items() if not name.startswith("aligner")}
        detached = frozenset(name for name in units if name.startswith("aligner"))
        return declared.with_(units=units, detached=detached)

    def weight_of(self, term: str) -> Weight:
        """The weight of a term, with its share by ``alpha``."""
        own, alpha = super().weight_of(term), self.config.alpha
        if alpha is None or term not in _OF_LABELS + _OF_MATCH:
            return own
        share = alpha if term in _OF_MATCH else 1 - alpha
        return (
            replace(own, start=share * own.start, to=share * own.to)
            if isinstance(own, Curve)
            else share * own
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, aligner, (rows, said) = self.config, self.aligner, b.teacher.paired()
        check_rows(said["features"], c.teacher_row)
        if c.pretrain != "no":
            return {"aligner": self._alone(b, rows, said["features"])}
        h_t, z_t = aligner.read_teacher(self._shown(b, rows, said["features"]))
        z_s, logits_a = aligner.project_student(self._features(b)), self._scores(aligner.head(h_t))
        logits_x = self._scores(aligner.auxiliary_head(z_s))
        terms = {
            "supervised": b.label_loss(),
            "logits": match_distance(c, b.problem, b.student.logits[rows], logits_a),
            "manifold": manifold_distance(c, z_s[rows], z_t if c.manifold_trains_both else z_t.detach()),
            "auxiliary": b.label_loss(logits_x),
            "aligner": b.label_loss(logits_a, rows),
        }
        if isinstance(aligner, TwoHeadAligner):
            logits_b = self._scores(aligner.teacher_auxiliary_head(z_t))
            terms["auxiliary_logits"] = match_distance(c, b.problem, logits_x[rows], logits_b)
            terms["aligner_auxiliary"] = b.label_loss(logits_b, rows)
        return {name: terms[name] for name in self.plan.units}

    def _features(self, b: StepBatch) -> Tensor:
        """The student's, ``[n, d]``, or of each choice ``[n, K, d]``."""
        return b.student.features if self.config.teacher_row == "row" else of_choices(b)

    def _scores(self, out: Tensor) -> Tensor:
        """What a head says: ``[n, C]``, or of each choice ``[n, K, 1]`` as ``[n, K]``."""
        return out if self.config.teacher_row == "row" else out.squeeze(-1)

    def _shown(self, b: StepBatch, rows: Tensor, features: Tensor) -> Tensor:
        """What the aligner reads of the paired rows: the teacher's features, with noise, or what stands in for them."""
        if self.config.aligner == "without_teacher":
            own = self._features(b)[rows].detach()
            return own.to(self.stand_in) @ self.stand_in
        if not self.config.teacher_noise:
            return features
        spread = features.float().std(-1, keepdim=True, correction=0)
        noise = torch.randn(features.shape, generator=b.generator).to(spread)
        return features.float() + self.config.teacher_noise * spread * noise

    def _alone(self, b: StepBatch, rows: Tensor, features: Tensor) -> Tensor:
        """The loss of the aligner without a student: from labels, or how well the projection gives the row back."""
        h_t, z_t = self.aligner.read_teacher(self._shown(b, rows, features))
        if self.config.pretrain == "reconstruction":
            return (self.decoder(z_t) - features.to(z_t.dtype)).square().flatten(1).mean(1).sum()
        loss = b.label_loss(self._scores(self.aligner.head(h_t)), rows)
        if isinstance(self.aligner, TwoHeadAligner):
            loss = loss + b.label_loss(self._scores(self.aligner.teacher_auxiliary_head(z_t)), rows)
        return loss


PRESETS = {
    "armada_paper_cosine": Preset(
        "Sengupta et al., arXiv 2603.10877, equations 1 to 3 as printed",
        fixed={"manifold": "cosine_verbatim", "match": "l2", "heads": "two"},
        defaults={"alpha": 0.5},
    ),
    "armada_paper_euclid": Preset(
        "Sengupta et al., arXiv 2603.10877, equations 1, 2 and 4 as printed",
        fixed={"manifold": "euclid", "match": "l2", "heads": "two"},
        defaults={"alpha": 0.5},
    ),
    "armada_paper_elementwise": Preset(
        "Sengupta et al., arXiv 2603.10877, equations 1, 2 and 5 as printed",
        fixed={"manifold": "elementwise", "match": "l2", "heads": "two"},
        defaults={"alpha": 0.5},
    ),
}
