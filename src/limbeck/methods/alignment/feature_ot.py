"""Feature alignment alone: entropic transport between the student's and the teacher's feature distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.functional import transport_cost, transport_in_bags, transport_plan
from limbeck.functional.costs import CostName
from limbeck.layers import gather_with_grad, linear_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class TransportConfig(Settings):
    cost: CostName = setting("cosine", "ground cost between features")
    reg: float = setting(0.1, "entropic regularisation, in units of the cost (epsilon)", above=0)
    gather: bool = setting(False, "gather the features of all ranks before the transport")


@dataclass
class FeatureOTConfig(TransportConfig):
    weight_supervised: Weight = weight(1.0)
    weight_transport: Weight = weight(1.0)


def feature_projector(shapes: Shapes) -> nn.Module:
    """A linear map from the student's width to the teacher's; the identity when they agree."""
    if shapes.student.width == shapes.teacher.width:
        return nn.Identity()
    return linear_projector(shapes.student.width, shapes.teacher.width)


def feature_transport(b: StepBatch, project: nn.Module, c: TransportConfig) -> Tensor:
    """Transport cost of one micro-batch: inside each bag when there are bags (mean over bags), else between the
    linked student rows and all teacher rows. Zero, with a gradient path, when there is nothing to align."""
    rows = b.teacher
    x_s, x_t = project(b.student.features), rows.said["features"].detach()
    if bool((rows.group_s >= 0).any()):
        return transport_in_bags(x_s, x_t, rows.group_s, rows.group_t, cost=c.cost, reg=c.reg)
    if bool(rows.is_paired.any()) or not len(x_t):  # without pairs nothing but the batch links the two
        x_s = x_s[rows.is_paired]
    if c.gather:
        x_s, x_t = gather_with_grad(x_s), gather_with_grad(x_t)
    return transport_cost(x_s, x_t, cost=c.cost, reg=c.reg) if len(x_s) and len(x_t) else x_s.sum() * 0


@torch.no_grad()
def projected_plan(features_s: Tensor, features_t: Tensor, project: nn.Module, c: TransportConfig) -> Tensor:
    """``[n, m]`` the transport plan of all rows at once."""
    return transport_plan(project(features_s), features_t, cost=c.cost, reg=c.reg)


class FeatureOT(Method):
    r"""Align two clouds of features by entropic optimal transport; no row needs a partner.

    .. math:: L = w_s L_{CE} + w_t \langle P^*, M\rangle,\quad
        P^* = \arg\min_{P \in U(1/n, 1/m)} \langle P, M\rangle + \varepsilon \sum P \log P

    Paper: the feature-alignment half of UCMKD (arXiv 2606.10504); Cuturi, NeurIPS 2013. With ``bagged`` links the
    transport stays inside each bag. Where nothing links the modalities but class labels, no gain over the same
    student without a teacher was measured (README, table of links).
    """

    needs = {"features"}
    links = {"paired", "partly_paired", "bagged", "by_class", "unpaired"}
    units = {"supervised": "labelled", "transport": "batch"}
    Config = FeatureOTConfig

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.project = feature_projector(shapes)

    def plan_between(self, features_s: Tensor, features_t: Tensor) -> Tensor:
        return projected_plan(features_s, features_t, self.project, self.config)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        return {"supervised": b.label_loss(), "transport": feature_transport(b, self.project, self.config)}
