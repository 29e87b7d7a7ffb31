"""UCMKD: cross-modal distillation without pairs, by aligning feature and label distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from limbeck.functional import label_alignment
from limbeck.functional.response.predictions import LabelAlignment
from limbeck.methods.alignment.feature_ot import (
    TransportConfig,
    feature_projector,
    feature_transport,
    projected_plan,
)
from limbeck.methods.base import Declared, Descent, Method, Shapes, StepBatch, Weight, setting, weight


@dataclass
class UCMKDConfig(TransportConfig):
    scheme: Literal["joint", "bilevel"] = setting(
        "joint", "all terms summed, or alignment on fast weights and the label loss outside"
    )
    variant: Literal["paper", "official"] = setting(
        "paper", "the two quantities as the paper defines them, or what the authors' code computes"
    )
    weight_supervised: Weight = weight(1.0)
    weight_feature: Weight = weight(1.0, "of the feature alignment")
    weight_label: Weight = weight(1.0, "of the label alignment")
    label_smoothing: float | None = setting(
        None, "null: 0 for joint; 0.1 for bilevel, as in the code", low=0, below=1
    )
    inner_learning_rate: float = setting(1e-3, "of the fast weights (bilevel)", above=0)
    inner_steps: int = setting(1, "descents of each inner phase (bilevel)", low=1)

    @property
    def smoothing(self) -> float:
        if self.label_smoothing is not None:
            return self.label_smoothing
        return 0.1 if self.scheme == "bilevel" else 0.0


class UCMKD(Method):
    r"""Align feature and label distributions of two modalities that share classes but no samples.

    .. math::
        FA = \langle P^*, M \rangle, \qquad
        LA = \tfrac1{n}\sum_i \left[ CE(p_s(i), y_i) - \kappa_i\, CE(h_t(f_s(i)), y_i) \right],\quad
        \kappa_i = \mathrm{softmax}(h_t(f_s(i)))_{y_i}

    with the teacher's head :math:`h_t` applied to the student's features and :math:`\kappa` detached.
    ``joint``: L = CE + w_f FA + w_l LA. ``bilevel``: FA, then LA, are descended on fast weights (AdamW, fresh each
    step), the label loss is taken at the fast weights and its gradient moves the real ones (first order).

    Paper: arXiv 2606.10504 (ICML 2026). Where ``official`` (the authors' code, as run) differs from ``paper``:
    joint ("sumall") *adds* kappa log p_t, which is the same difference, takes no label smoothing, and sends a
    gradient through the teacher's head that lowers its confidence in the true class; bilevel smooths the labels
    by 0.1 and evaluates the teacher's head without gradient on detached features, so LA moves only the student's
    head and the teacher enters through the value alone (a random teacher head gives identical weights).
    Inside, only the student's weights move: where the widths differ, the linear map to the teacher's width keeps its
    random start in ``bilevel`` and is trained in ``joint``.
    Measured here, with labels as the only link, neither scheme gains over the same student without a teacher
    (README, table of links); the library says so in its reports.
    """

    needs = {"features", "head"}
    links = {"paired", "partly_paired", "by_class", "unpaired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "feature": "batch", "label": "labelled"}
    Config = UCMKDConfig

    @classmethod
    def declared(cls, config: UCMKDConfig) -> Declared:
        found = super().declared(config)
        if config.scheme == "joint":
            return found
        where = {"feature": "student", "label": "head" if config.variant == "official" else "student"}
        steps, rate = config.inner_steps, config.inner_learning_rate
        return found.with_(
            descents=tuple(Descent(name, moves, steps, learning_rate=rate) for name, moves in where.items())
        )

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.project = feature_projector(shapes)

    def plan_between(self, features_s: Tensor, features_t: Tensor) -> Tensor:
        return projected_plan(features_s, features_t, self.project, self.config)

    def _label_alignment(self, b: StepBatch) -> Tensor:
        c, rows = self.config, b.labelled
        official: LabelAlignment = "official_sumall" if c.scheme == "joint" else "official_bilevel"
        return label_alignment(
            b.student.logits[rows],
            self.project(b.student.features[rows]),
            b.teacher.said["head"],
            b.classes[rows],
            variant="paper" if c.variant == "paper" else official,
            label_smoothing=c.smoothing,
            reduction="sum",
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        terms = {"supervised": b.label_loss(label_smoothing=self.config.smoothing)}
        if self.config.scheme == "joint":
            terms |= {
                "feature": feature_transport(b, self.project, self.config),
                "label": self._label_alignment(b),
            }
        return terms

    def descent_loss(self, b: StepBatch, name: str) -> Tensor:
        if name == "feature":
            return feature_transport(b, self.project, self.config)
        return self._label_alignment(b) / b.labelled.sum().clamp(min=1)
