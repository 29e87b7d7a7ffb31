"""Distillation through bags: a set of sounds and a set of pictures belong together, nothing is known inside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.functional import assignment_in_bags, bag_proportion_kl, soft_cross_entropy
from limbeck.methods.base import Curve, Method, Settings, StepBatch, Weight, setting, weight
from limbeck.signals.teacher_rows import TeacherRows


@dataclass
class BagKDConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_proportion: Weight = weight(0.25, "of the proportion term, whose value grows with the bag")
    weight_assignment: Weight = weight(1.0, "of the assignment term, reached at the end of the ramp")
    ramp: float = setting(
        0.4, "share of the training over which a plain weight_assignment rises", low=0, high=1
    )
    assignment_temperature: float = setting(1.0, "entropic regularisation of the assignment", above=0)
    assignment_iterations: int = setting(20, "sweeps of the assignment", low=1)


def bag_proportions(teacher: TeacherRows) -> tuple[Tensor, Tensor]:
    """Bag numbers ``[g]`` of this batch and the teacher's mean prediction over each bag ``[g, C]``."""
    bags = teacher.group_s[teacher.group_s >= 0].unique()
    probs = teacher.said.log_predictions().exp()
    member = (teacher.group_t[None, :] == bags[:, None]).to(probs.dtype)
    return bags, (member @ probs) / member.sum(1, keepdim=True).clamp(min=1)


class BagKD(Method):
    r"""Teach from class proportions that a teacher in another modality reads off its side of each bag.

    .. math::
        L = L_{CE} + \tfrac{w_p}{g}\sum_b n_b\, KL\Big(\bar p_t(b) \,\Big\|\, \tfrac1{n_b}\sum_{i\in b} p_s(i)\Big)
          + \tfrac{w_a(t)}{g}\sum_b \tfrac1{n_b} \sum_{i \in b} CE\big(q_b(i), p_s^{strong}(i)\big)

    where :math:`\bar p_t(b)` is the teacher's mean softmax over its rows of bag b and :math:`q_b` are the soft labels
    from a balanced Sinkhorn of the EMA student's weak-view log-probabilities with columns :math:`\bar p_t(b)`.

    Paper: ours; it stands on learning from label proportions: LLP-VAT (Tsai and Lin, ACML 2020) and two-stage LLP
    (arXiv 2105.10635). New is that the proportions come from a teacher in another modality. The true proportions are
    its upper bound (``oracle_like``), uniform proportions a control (``uniform_like``). Wrong bags hurt.
    """

    needs = {"logits"}
    links = {"bagged"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "proportion": "bag", "assignment": "bag"}
    peers = {"ema"}
    Config = BagKDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        bags, proportions = bag_proportions(b.teacher)
        in_bag = b.teacher.group_s >= 0
        group = torch.searchsorted(bags, b.teacher.group_s[in_bag])
        sizes = torch.bincount(group, minlength=len(bags))
        logits = b.student.logits[in_bag]
        proportion = bag_proportion_kl(logits, group, proportions, reduction="none") * sizes
        targets = assignment_in_bags(
            b.peer("ema", in_bag).logits,
            group,
            proportions,
            temperature=self.config.assignment_temperature,
            iterations=self.config.assignment_iterations,
        )
        rows = soft_cross_entropy(logits, targets, reduction="none") / sizes[group]
        return {"supervised": b.label_loss(), "proportion": proportion.sum(), "assignment": rows.sum()}

    def weight_of(self, term: str) -> Weight:
        own = super().weight_of(term)
        if term != "assignment" or not self.config.ramp or isinstance(own, Curve):
            return own
        return Curve(0.0, own, self.config.ramp)
