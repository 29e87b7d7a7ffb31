"""UCMKD: cross-modal distillation without pairs, by aligning feature and label distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from limbeck.functional import label_alignment
from limbeck.functional.response.predictions import LabelAlignment
from limbeck.methods.base import InnerPhase, Method, StepBatch, Widths, check_range, check_types
from limbeck.methods.feature_ot import Cost, feature_projector, feature_transport
from limbeck.methods.supervised import supervised_term


@dataclass
class UCMKDConfig:
    """Settings of ``ucmkd``; the paper's symbols in brackets.

    Args:
        scheme: ``joint`` (all terms summed) or ``bilevel`` (alignment on fast weights, label loss outside).
        variant: ``paper`` = the two quantities as the paper defines them; ``official`` = what the authors' code
            computes (see the class docstring).
        cost, reg: ground cost and entropic regularisation of the feature alignment (cosine, 0.1).
        weight_supervised, weight_feature, weight_label: weights of the terms, each >= 0, default 1.
        label_smoothing: in [0, 1), default 0 for joint; 0.1 for bilevel, as in the authors' code, when None.
        inner_learning_rate: > 0, default 1e-3, of the fast weights (bilevel).
        inner_steps: >= 1, default 1, descents of each inner phase (bilevel).
        gather: gather features of all ranks before the transport, default False.
    """

    scheme: Literal["joint", "bilevel"] = "joint"
    variant: Literal["paper", "official"] = "paper"
    cost: Cost = "cosine"
    reg: float = 0.1
    weight_supervised: float = 1.0
    weight_feature: float = 1.0
    weight_label: float = 1.0
    label_smoothing: float | None = None
    inner_learning_rate: float = 1e-3
    inner_steps: int = 1
    gather: bool = False

    def __post_init__(self) -> None:
        check_types("ucmkd", self)
        for name in ("weight_supervised", "weight_feature", "weight_label"):
            check_range("ucmkd", name, getattr(self, name), 0, None)
        check_range("ucmkd", "reg", self.reg, 0, None, closed_low=False)
        check_range("ucmkd", "label_smoothing", self.smoothing, 0, 1, closed_high=False)
        check_range("ucmkd", "inner_learning_rate", self.inner_learning_rate, 0, None, closed_low=False)
        check_range("ucmkd", "inner_steps", self.inner_steps, 1, None)

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
    units = {"supervised": "labelled", "feature_alignment": "batch", "label_alignment": "labelled"}
    Config = UCMKDConfig

    def __init__(self, config: Any, widths: Widths) -> None:
        super().__init__(config, widths)
        self.project = feature_projector(widths)

    @property
    def inner_phases(self) -> tuple[InnerPhase, ...]:
        c = self.config
        return (
            InnerPhase("feature_alignment", c.inner_steps),
            InnerPhase("label_alignment", c.inner_steps, head_only=c.variant == "official"),
        )

    def feature_alignment(self, b: StepBatch) -> Tensor:
        c = self.config
        return feature_transport(b, self.project, c.cost, c.reg, gather=c.gather)

    def label_alignment(self, b: StepBatch) -> Tensor:
        assert b.teacher is not None
        assert b.teacher.head is not None
        c, rows = self.config, b.labelled
        official: LabelAlignment = "official_sumall" if c.scheme == "joint" else "official_bilevel"
        return label_alignment(
            b.student.logits[rows],
            self.project(b.student.features[rows]),
            b.teacher.head,
            b.labels[rows],
            variant="paper" if c.variant == "paper" else official,
            label_smoothing=c.smoothing,
            reduction="sum",
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        terms = {"supervised": supervised_term(b, self.config.smoothing)}
        if self.config.scheme == "joint":
            terms |= {
                "feature_alignment": self.feature_alignment(b),
                "label_alignment": self.label_alignment(b),
            }
        return terms

    def inner_losses(self, b: StepBatch, phase: str) -> Tensor:
        if phase == "feature_alignment":
            return self.feature_alignment(b)
        return self.label_alignment(b) / b.labelled.sum().clamp(min=1)

    def weights(self, progress: float) -> dict[str, float]:
        c = self.config
        return {
            "supervised": c.weight_supervised,
            "feature_alignment": c.weight_feature,
            "label_alignment": c.weight_label,
        }
