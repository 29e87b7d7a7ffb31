"""Customised cross-modal distillation: proxies of both sides meet, where they agree in the order of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.functional import distillation_kl, kendall_tau, non_target_kl
from limbeck.layers import mlp_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class C2KDConfig(Settings):
    agreement: float = setting(
        0.0, "Kendall's rank correlation of the proxies above which a row counts (kappa)", low=-1, high=1
    )
    variant: Literal["paper", "official"] = setting(
        "paper", "official: the target class stays among the others, with the logit 0"
    )
    weight_supervised: Weight = weight(1.0)
    weight_own: Weight = weight(1.0, "of student and proxy, both ways")
    weight_exchange: Weight = weight(1.0, "of the student's proxy after the teacher's, beside the target")
    weight_teacher: Weight = weight(1.0, "of what the teacher's proxy learns, which the student does not see")


class C2KD(Method):
    r"""Let a proxy of each side learn from its side and from the other proxy, and the student from its own proxy.

    .. math:: L = w_s L_{CE} + \frac1p \sum_{i\,\text{paired}} w_o \big(KL(q_s \| s) + KL(s \| q_s)\big)
        + w_e\, 1[\tau > \kappa]\, N(q_t \| q_s) + w_t \big(KL(t \| q_t) + 1[\tau > \kappa]\, N(q_s \| q_t)\big)

    with q the predictions of the proxies (MLPs of the features, not exported), the first of each pair held, N the
    divergence among the classes other than the target, and tau Kendall's correlation of the two proxies' logits; see
    :func:`limbeck.functional.non_target_kl` and :func:`~limbeck.functional.kendall_tau`. A mean over all pairs, whether
    they count or not. A pair without a label takes the teacher's likeliest class for the target.

    Paper: Huo et al., CVPR 2024. Deviation: the teacher itself is held, since a bank cannot learn; with it the terms
    that would move it are gone. Proxies are MLPs, in the place of convolutions before a linear layer.
    """

    needs = {"features", "logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "own": "pair", "exchange": "pair", "teacher": "pair"}
    detached = {"teacher"}
    Config = C2KDConfig

    def __init__(self, config: C2KDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        n = shapes.student.n_outputs
        self.proxy_student = mlp_projector(shapes.student.width, n, hidden=shapes.student.width)
        self.proxy_teacher = mlp_projector(shapes.teacher.width, n, hidden=shapes.teacher.width)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs, classes = b.student.logits[rows], said.log_predictions().detach(), b.classes[rows]
        classes = torch.where(classes >= 0, classes, theirs.argmax(-1))
        proxy_s = self.proxy_student(b.student.features[rows])
        features_t = said["features"].detach().to(next(self.parameters()).dtype)
        proxy_t = self.proxy_teacher(features_t)
        counts = kendall_tau(proxy_s, proxy_t) > self.config.agreement
        return {
            "supervised": b.label_loss(),
            "own": distillation_kl(ours, proxy_s, reduction="sum")
            + distillation_kl(proxy_s, ours, reduction="sum"),
            "exchange": self._beside(proxy_s, proxy_t, classes, counts),
            "teacher": distillation_kl(proxy_t, theirs, reduction="sum")
            + self._beside(proxy_t, proxy_s, classes, counts),
        }

    def _beside(self, learns: Tensor, held: Tensor, classes: Tensor, counts: Tensor) -> Tensor:
        return non_target_kl(learns, held, classes, mask=counts, variant=self.config.variant, reduction="sum")
