"""Wasserstein contrast: a critic of slope 1 tells pairs from strangers, and the clouds of a batch move together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.parametrizations import spectral_norm

from limbeck.functional import dual_contrast, transport_cost
from limbeck.functional.precision import unit_rows
from limbeck.layers import Queue, linear_projector, row_numbers
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset


@dataclass
class WCoRDConfig(Settings):
    width: int = setting(128, "of the space in which both sides are compared", low=1)
    queue: int = setting(4096, "teacher rows of earlier steps that are strangers too, 0 = none", low=0)
    negatives: float = setting(1.0, "weight of the strangers (M)", above=0)
    reg: float = setting(0.1, "entropy of the transport between the two clouds of a batch", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_global: Weight = weight(0.8, "of the dual form, pairs against strangers (lambda 1)")
    weight_local: Weight = weight(0.05, "of the primal form, cloud against cloud (lambda 2)")


class WCoRD(Method):
    r"""Wasserstein's distance in both its forms: dual over pairs and strangers, primal inside the batch.

    .. math:: L = w_s L_{CE} + w_g \Big(-\frac1p \sum_i g_{ii} + M\, \overline{g_{ij}}\Big)
        + w_l \min_P \langle P, 1 - \cos(r(f_s), f_t) \rangle, \qquad
        g_{ij} = \langle U \hat f_s(i), V \hat f_t(j) \rangle

    with rows at length 1 and the spectral norms of U and V at 1, so that the critic has a slope of at most 1 on each
    side and the dual form a minimum; U and V go down it with the student. Strangers are the other pairs of the batch
    and the teacher rows of a queue, which is part of the checkpoint; see :func:`limbeck.functional.dual_contrast` and
    :func:`~limbeck.functional.transport_cost`. The primal form is blind to which row belongs to which.

    Paper: Chen et al., CVPR 2021, arXiv 2012.08674. Deviation: not known of the dual form, since neither the paper's
    equations nor its code were at hand to check it; M is 1, with which it is one of a distance, and the critic is a
    bilinear form.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "global": "batch", "local": "batch"}
    row = 4
    Config = WCoRDConfig

    def __init__(self, config: WCoRDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        d, e = shapes.student.width, shapes.teacher.width
        self.critic_student = spectral_norm(linear_projector(d, config.width, bias=False))
        self.critic_teacher = spectral_norm(linear_projector(e, config.width, bias=False))
        self.project = linear_projector(d, e)
        self.memory = Queue(config.queue, teacher=e) if config.queue else None

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs = b.student.features[rows], said["features"].detach()
        made = self.project(ours)
        local = made.sum() * 0
        if len(rows):
            local = transport_cost(made, theirs, cost="cosine", reg=self.config.reg)
        return {"supervised": b.label_loss(), "global": self._global(ours, theirs), "local": local}

    def _global(self, ours: Tensor, theirs: Tensor) -> Tensor:
        numbers = known = row_numbers(theirs)
        theirs = unit_rows(theirs.float())
        shown = theirs
        if self.memory is not None:
            shown = torch.cat([theirs, self.memory.rows("teacher")])
            known = torch.cat([numbers, self.memory.numbers])
            self.memory.push(numbers, teacher=theirs)
        kind = self.project.weight.dtype
        u = self.critic_student(unit_rows(ours.float()).to(kind))
        v = self.critic_teacher(shown.to(kind))
        same = numbers[:, None] == known[None, :]
        return dual_contrast(u @ v.T, same=same, negatives=self.config.negatives)


PRESETS = {
    "wcord_global": Preset(
        "Chen et al. (WCoRD), CVPR 2021, arXiv 2012.08674, the dual form", defaults={"weight_local": 0.0}
    ),
    "wcord_local": Preset(
        "Chen et al. (WCoRD), CVPR 2021, arXiv 2012.08674, the primal form",
        fixed={"queue": 0},
        defaults={"weight_global": 0.0},
    ),
}
