"""Feature alignment alone: entropic transport between the student's and the teacher's feature distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.functional import transport_cost
from limbeck.layers import gather_with_grad, linear_projector
from limbeck.methods.base import Method, StepBatch, Widths, check_range, check_types
from limbeck.methods.supervised import supervised_term

Cost = Literal["cosine", "chordal", "sqeuclidean", "euclidean", "l1"]


@dataclass
class FeatureOTConfig:
    """Settings of ``feature_ot``.

    Args:
        cost: ground cost between features, default cosine.
        reg: float > 0, entropic regularisation in units of the cost, default 0.1.
        weight_supervised: float >= 0, default 1.
        weight_transport: float >= 0, default 1.
        gather: gather the features of all ranks before the transport, default False.
    """

    cost: Cost = "cosine"
    reg: float = 0.1
    weight_supervised: float = 1.0
    weight_transport: float = 1.0
    gather: bool = False

    def __post_init__(self) -> None:
        check_types("feature_ot", self)
        check_range("feature_ot", "reg", self.reg, 0, None, closed_low=False)
        check_range("feature_ot", "weight_supervised", self.weight_supervised, 0, None)
        check_range("feature_ot", "weight_transport", self.weight_transport, 0, None)


def feature_projector(widths: Widths) -> nn.Module:
    """A linear map from the student's width to the teacher's; the identity when they agree."""
    assert widths.teacher is not None  # guaranteed by `needs`
    if widths.student == widths.teacher:
        return nn.Identity()
    return linear_projector(widths.student, widths.teacher)


def feature_transport(
    b: StepBatch, project: nn.Module, cost: Cost, reg: float, *, gather: bool = False
) -> Tensor:
    """Transport cost of one micro-batch: inside each bag when there are bags (mean over bags), else between the
    linked student rows and all teacher rows. Zero, with a gradient path, when there is nothing to align."""
    assert b.teacher is not None
    assert b.teacher.features is not None
    x_s, x_t = project(b.student.features), b.teacher.features.detach()
    nothing = x_s.sum() * 0
    if bool((b.group_s >= 0).any()):
        bags = b.group_s[b.group_s >= 0].unique()
        costs = [
            transport_cost(x_s[b.group_s == bag], x_t[b.group_t == bag], cost=cost, reg=reg) for bag in bags
        ]
        return torch.stack(costs).mean()
    linked = b.pair_index >= 0
    if bool(linked.any()) or not len(x_t):  # teacher rows without pairs: nothing but the batch links the two
        x_s = x_s[linked]
    if gather:
        x_s, x_t = gather_with_grad(x_s), gather_with_grad(x_t)
    return transport_cost(x_s, x_t, cost=cost, reg=reg) if len(x_s) and len(x_t) else nothing


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

    def __init__(self, config: Any, widths: Widths) -> None:
        super().__init__(config, widths)
        self.project = feature_projector(widths)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c = self.config
        transport = feature_transport(b, self.project, c.cost, c.reg, gather=c.gather)
        return {"supervised": supervised_term(b), "transport": transport}

    def weights(self, progress: float) -> dict[str, float]:
        return {"supervised": self.config.weight_supervised, "transport": self.config.weight_transport}
