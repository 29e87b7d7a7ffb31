"""Contrastive representation distillation: the own row of the other side, or one of a memory?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.functional import noise_contrast_all
from limbeck.functional.contrastive.memory import mean_of_exponentials
from limbeck.functional.precision import unit_rows
from limbeck.layers import Queue, gather_with_grad, linear_projector, row_numbers
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class CRDConfig(Settings):
    width: int = setting(128, "of the space in which both sides are compared", low=1)
    queue: int = setting(16384, "rows of earlier steps that both memories hold", low=1)
    temperature: float = setting(0.07, "of the inner products (tau)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_contrast: Weight = weight(0.8, "of the contrast, both sides together")


class CRD(Method):
    r"""Tell a sample's own row of the other side from the rows of a memory, for both sides, in a learned space.

    .. math:: L = w_s L_{CE} + w_c \big(C(v_s, v_t, M_t) + C(v_t, v_s, M_s)\big), \qquad
        v = \frac{W f + b}{\|W f + b\|}

    with C the noise contrast (see :func:`limbeck.functional.noise_contrast_all`) and the memories M of the last rows of
    both sides, of all processes; they are part of the checkpoint. Rows of one and the same teacher row are no negatives
    of each other. Maps and memories are not exported.

    Paper: Tian, Krishnan, Isola, ICLR 2020, arXiv 1910.10699, equations 9 to 19. Deviation: the memory is a queue of
    the last rows in the place of an average of each sample over the training, and all of it is drawn.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "contrast": "batch"}
    Config = CRDConfig

    mean_exponentials: Tensor

    def __init__(self, config: CRDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.student = linear_projector(shapes.student.width, config.width)
        self.teacher = linear_projector(shapes.teacher.width, config.width)
        self.memory = Queue(config.queue, student=config.width, teacher=config.width)
        # of the exponentials of each side in the first batch that had pairs; 0 = none yet
        self.register_buffer("mean_exponentials", torch.zeros(2))

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        v_s = unit_rows(self.student(b.student.features[rows]).float())
        theirs = said["features"].detach().to(self.teacher.weight.dtype)
        v_t = unit_rows(self.teacher(theirs).float())
        numbers = row_numbers(said["features"])
        contrast = self._side(0, v_s, v_t, numbers, "teacher") + self._side(1, v_t, v_s, numbers, "student")
        self.memory.push(numbers, student=v_s, teacher=v_t)
        return {"supervised": b.label_loss(), "contrast": contrast}

    def _side(self, side: int, ours: Tensor, own: Tensor, numbers: Tensor, other: str) -> Tensor:
        """The contrast of one side, with the rows of this batch and of the other side's memory."""
        others = torch.cat([own.detach(), self.memory.rows(other)])
        known = torch.cat([numbers, self.memory.numbers])
        same = numbers[:, None] == known[None, :]
        mean = self._mean_exponential(side, ours.detach(), own.detach(), others, same)
        return noise_contrast_all(
            ours, own, others, temperature=self.config.temperature, mean_exponential=mean, same=same
        )

    @torch.no_grad()
    def _mean_exponential(
        self, side: int, ours: Tensor, own: Tensor, others: Tensor, same: Tensor
    ) -> Tensor | None:
        """That of the first batch of all processes, and of no other."""
        kept = self.mean_exponentials[side]
        if float(kept) == 0:
            t = self.config.temperature
            found = kept.new_zeros(1, 2)
            if len(ours):
                scores = (ours @ others.T / t).masked_fill(same, -torch.inf)
                found[0] = torch.stack([mean_of_exponentials((ours * own).sum(1) / t, scores), kept + 1])
            total = gather_with_grad(found).sum(0)
            self.mean_exponentials[side] = total[0] / total[1].clamp(min=1)
        return self.mean_exponentials[side] if float(self.mean_exponentials[side]) > 0 else None
