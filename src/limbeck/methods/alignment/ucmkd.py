"""UCMKD: cross-modal distillation without pairs, by aligning feature and label distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from torch import Tensor, nn

from limbeck.functional import label_alignment
from limbeck.functional.costs import CostName
from limbeck.functional.response.predictions import LabelAlignment
from limbeck.methods.alignment.feature_ot import (
    TransportConfig,
    feature_projector,
    feature_transport,
    projected_plan,
)
from limbeck.methods.base import (
    Declared,
    Descent,
    Method,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.presets import Preset
from limbeck.problems.classification import Classification

Variant = Literal["ours", "paper", "official"]
_SMOOTHING = 0.1  # of the authors' bilevel losses
_OFFICIAL_RATE, _OFFICIAL_DECAY = 5e-5, 0.05  # of their inner AdamW on RAVDESS; the rate is 1e-5 on AVE
_OUR_RATE = 1e-3


@dataclass
class UCMKDConfig(Settings):
    variant: Variant = setting(
        "ours", "ours, Algorithm 1 as it is printed, or what the authors' code computes; decides what is null"
    )
    scheme: Literal["joint", "bilevel"] | None = setting(
        None,
        "all terms summed, or alignment on fast weights and the label loss outside; null: joint for ours, else bilevel",
    )
    cost: CostName | None = setting(
        None, "ground cost between features; null: euclidean (l2) for paper, else cosine"
    )
    reg: float = setting(0.1, "entropic regularisation, in units of the cost (epsilon)", above=0)
    gather: bool = setting(False, "gather the features of all ranks before the transport")
    weight_supervised: Weight = weight(1.0)
    weight_feature: Weight = weight(1.0, "of the feature alignment (lambda 1); 0 leaves its phase out")
    weight_label: Weight = weight(1.0, "of the label alignment (lambda 2); 0 leaves its phase out")
    label_smoothing: float | None = setting(
        None, "null: 0.1 for bilevel of ours and official, else 0", low=0, below=1
    )
    inner_steps: int = setting(1, "descents of each inner phase (bilevel)", low=1)
    feature_steps: int | None = setting(None, "of the feature phase (n1); null: inner_steps", low=1)
    label_steps: int | None = setting(None, "of the label phase (n2); null: inner_steps", low=1)
    inner_learning_rate: float | None = setting(
        None,
        "of the fast weights (bilevel); null: 1e-3 for ours, 5e-5 for official, the outer rate of the step for paper",
        above=0,
    )
    inner_weight_decay: float | None = setting(
        None, "of the fast weights (bilevel); null: 0.05 for official, else 0", low=0
    )

    @property
    def is_bilevel(self) -> bool:
        return (self.scheme or ("joint" if self.variant == "ours" else "bilevel")) == "bilevel"

    @property
    def smoothing(self) -> float:
        if self.label_smoothing is not None:
            return self.label_smoothing
        return _SMOOTHING if self.is_bilevel and self.variant != "paper" else 0.0

    @property
    def transport(self) -> TransportConfig:
        cost = self.cost or ("euclidean" if self.variant == "paper" else "cosine")
        return TransportConfig(cost, self.reg, self.gather)

    def descent(self, name: str) -> Descent:
        """The inner phase ``feature`` or ``label``."""
        steps = (self.feature_steps if name == "feature" else self.label_steps) or self.inner_steps
        moves = "head" if name == "label" and self.variant == "official" else "student"
        decay, rate = self.inner_weight_decay or 0.0, self.inner_learning_rate
        if self.variant == "paper":
            return Descent(name, moves, steps, "sgd", "outer" if rate is None else rate, decay)
        if self.variant == "official" and self.inner_weight_decay is None:
            decay = _OFFICIAL_DECAY
        usual = _OFFICIAL_RATE if self.variant == "official" else _OUR_RATE
        return Descent(name, moves, steps, "adamw", usual if rate is None else rate, decay)


class UCMKD(Method):
    r"""Align feature and label distributions of two modalities that share classes but no samples.

    .. math::
        FA = \langle P^*, M \rangle, \qquad
        LA = \tfrac1{n}\sum_i \left[ CE(p_s(i), y_i) - \kappa_i\, CE(h_t(f_s(i)), y_i) \right],\quad
        \kappa_i = \mathrm{softmax}(h_t(f_s(i)))_{y_i}

    with the teacher's head :math:`h_t` applied to the student's features and :math:`\kappa` detached; class weights of
    the problem count in LA as in CE.
    ``joint``: L = CE + w_f FA + w_l LA. ``bilevel``: FA, then LA, are descended on fast weights, the label loss is
    taken at the fast weights and its gradient moves the real ones (first order).

    ``paper``: Algorithm 1 as printed: Euclidean cost, plain gradient steps of the outer learning rate times
    lambda 1 and 2, LA on features and head, no smoothing. ``ours``: cosine cost, AdamW inside (fresh each step, under
    which the lambdas do next to nothing), the labels smoothed by 0.1 in ``bilevel``. ``official``, the authors' code
    as run: AdamW at 5e-5 with decay 0.05; ``bilevel`` evaluates the teacher's head without gradient on detached
    features, so LA moves the student's head alone and the teacher enters through the value (a random teacher head
    gives the same weights), and where the widths differ LA is plain cross-entropy; ``joint`` ("sumall") sends a
    gradient through the teacher's head that lowers its confidence in the true class, without smoothing.
    Inside, only the student's weights move: where the widths differ, the linear map to the teacher's width keeps its
    random start in ``bilevel`` and is trained in ``joint``. Numbers of all variants: docs/ucmkd.md.

    Paper: arXiv 2606.10504 (ICML 2026), Algorithm 1 and Table 6; code Duckduck-05/UCMKD.
    """

    needs = {"features", "head"}
    links = {"paired", "partly_paired", "by_class", "unpaired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "feature": "batch", "label": "labelled"}
    Config = UCMKDConfig

    @classmethod
    def declared(cls, config: UCMKDConfig) -> Declared:
        found = super().declared(config)
        if not config.is_bilevel:
            return found
        return found.with_(descents=tuple(config.descent(name) for name in ("feature", "label")))

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.project = feature_projector(shapes)

    def plan_between(self, features_s: Tensor, features_t: Tensor) -> Tensor:
        return projected_plan(features_s, features_t, self.project, self.config.transport)

    def _label_alignment(self, b: StepBatch) -> Tensor:
        c, rows = self.config, b.labelled
        official: LabelAlignment = "official_bilevel" if c.is_bilevel else "official_sumall"
        if c.variant == "official" and c.is_bilevel and not isinstance(self.project, nn.Identity):
            return b.label_loss(label_smoothing=c.smoothing)  # as the authors do where the widths differ
        return label_alignment(
            b.student.logits[rows],
            self.project(b.student.features[rows]),
            b.teacher.said["head"],
            b.classes[rows],
            variant=official if c.variant == "official" else "paper",
            label_smoothing=c.smoothing,
            class_weights=cast(Classification, b.problem).weights(b.student.logits),
            reduction="sum",
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c = self.config
        terms = {"supervised": b.label_loss(label_smoothing=c.smoothing)}
        if not c.is_bilevel:
            terms |= {
                "feature": feature_transport(b, self.project, c.transport),
                "label": self._label_alignment(b),
            }
        return terms

    def descent_loss(self, b: StepBatch, name: str) -> Tensor:
        if name == "feature":
            return feature_transport(b, self.project, self.config.transport)
        return self._label_alignment(b) / b.labelled.sum().clamp(min=1)


PRESETS = {
    "ucmkd_paper": Preset("arXiv 2606.10504, Algorithm 1", fixed={"variant": "paper", "scheme": "bilevel"}),
    "ucmkd_paper_fa": Preset(
        "arXiv 2606.10504, Table 6, feature alignment alone",
        fixed={"variant": "paper", "scheme": "bilevel", "weight_label": 0.0},
    ),
    "ucmkd_paper_la": Preset(
        "arXiv 2606.10504, Table 6, label alignment alone",
        fixed={"variant": "paper", "scheme": "bilevel", "weight_feature": 0.0},
    ),
    "ucmkd_paper_joint": Preset(
        "arXiv 2606.10504, Table 6, both without the two levels",
        fixed={"variant": "paper", "scheme": "joint"},
    ),
    "ucmkd_official": Preset(
        "arXiv 2606.10504, code Duckduck-05/UCMKD, method bilevel",
        fixed={"variant": "official", "scheme": "bilevel"},
    ),
}
