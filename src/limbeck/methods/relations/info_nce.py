"""Contrastive distillation: the student's feature finds its own teacher row among those of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.functional import info_nce
from limbeck.layers import Queue, linear_projector, row_numbers
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset


@dataclass
class InfoNCEConfig(Settings):
    temperature: float = setting(0.07, "of the cosines (tau)", above=0)
    symmetric: bool = setting(False, "also let the teacher's row find the student's")
    queue: int = setting(0, "teacher rows of earlier steps that are negatives too, 0 = none", low=0)
    weight_supervised: Weight = weight(1.0)
    weight_contrast: Weight = weight(1.0, "of the contrast, a mean over the pairs of a batch")


class InfoNCE(Method):
    r"""Tell the own teacher row from the others of the batch, through a linear map that is not exported.

    .. math:: L = w_s L_{CE} + w_c \frac1p \sum_i -\log \frac{\exp(\cos(r(f_s(i)), f_t(i)) / \tau)}
        {\sum_j \exp(\cos(r(f_s(i)), f_t(j)) / \tau)}

    over the p paired rows of a batch, and with ``queue`` over the last teacher rows of all processes, which are part of
    the checkpoint. Rows that share one teacher row are no negatives of each other.

    Paper: van den Oord, Li, Vinyals, arXiv 1807.03748, equation 4. Deviation: between the features of two nets, by
    cosine, with the teacher held.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "contrast": "batch"}
    Config = InfoNCEConfig

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.project = linear_projector(shapes.student.width, shapes.teacher.width)
        self.memory = Queue(config.queue, teacher=shapes.teacher.width) if config.queue else None

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        queue, same_in_queue = self._queued(said["features"])
        contrast = info_nce(
            self.project(b.student.features[rows]),
            said["features"],
            temperature=c.temperature,
            symmetric=c.symmetric,
            same=b.teacher.pair_index[rows],
            queue=queue,
            same_in_queue=same_in_queue,
        )
        return {"supervised": b.label_loss(), "contrast": contrast}

    def _queued(self, theirs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Earlier teacher rows and which of them are a row's own; the rows of this batch join them."""
        if self.memory is None:
            return None, None
        numbers = row_numbers(theirs)
        earlier = self.memory.rows("teacher").clone()  # the rows that join are written into it
        same = numbers[:, None] == self.memory.numbers[None, :]
        self.memory.push(numbers, teacher=theirs)
        return earlier, same


PRESETS = {
    "ckd": Preset(
        "Gao et al. (DistilCSE), 2021, arXiv 2112.05638, contrastive knowledge distillation, as the authors' code "
        "computes it but for its temperature, which is learned",
        fixed={"symmetric": False},
        defaults={"queue": 50_000, "temperature": 0.05, "weight_supervised": 0.0},
        row=29,
        chain="ckd",
    ),
}
