"""Distillation of several labels a row: each a yes or no of its own, and embeddings of labels that lie alike."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import binary_kl, label_structure
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.layer_pairs import OverLayerPair


@dataclass
class L2DConfig(Settings):
    layer: str = setting(
        "layer:-1", "STUDENT=TEACHER, layers that give an embedding of each class, [classes, width] a row"
    )
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(10.0, "of the divergences of the yes or no, a sum over classes")
    weight_class: Weight = weight(100.0, "of the embeddings of one class over the rows of a batch")
    weight_instance: Weight = weight(
        1000.0, "of the embeddings of one row over its classes, a mean over rows"
    )


class L2D(OverLayerPair):
    r"""Match each label as a yes or no, and how the embeddings of labels that are there lie to each other.

    .. math:: L = w_s L_{BCE} + \frac{w_d}{p} \sum_{i\,\text{paired}} \sum_c
        KL\big(\sigma(z_t^c) \,\|\, \sigma(z_s^c)\big) + w_c L_{class} + \frac{w_i}{p} L_{instance}

    see :func:`limbeck.functional.label_structure`. A pair without labels has those that the teacher finds likely.

    Paper: Yang et al., ICCV 2023, arXiv 2308.06453, and the authors' code. Deviation: the instance-aware term is a mean
    over rows, where they add them up; both sides must show embeddings of labels, as their decoder does.
    """

    needs = {"logits", "hidden_states"}
    problems = {"multilabel"}
    units = {"supervised": "labelled", "distillation": "pair", "class": "batch", "instance": "pair"}
    row = 30
    Config = L2DConfig

    def __init__(self, config: L2DConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        for layer, side, shape in (
            (self.ours, "student", shapes.student.hidden[self.ours]),
            (self.theirs, "teacher", shapes.teacher.hidden[self.theirs]),
        ):
            if len(shape) != 2 or shape[0] != shapes.student.n_outputs:
                raise ConfigError(
                    f"The layer {layer!r} of the {side} gives {list(shape)} a row, and an embedding of each of the "
                    f"{shapes.student.n_outputs} classes is wanted, [classes, width]; 'binary_kd' goes without."
                )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        known = b.labelled[rows][:, None]
        positive = (known & (b.targets.values[rows] > 0.5)) | (~known & (said["logits"] > 0))
        ours, theirs = b.student.hidden_states[self.ours][rows], said["hidden_states"][self.theirs]
        return {
            "supervised": b.label_loss(),
            "distillation": binary_kl(b.student.logits[rows], said["logits"], reduction="sum"),
            "class": label_structure(ours, theirs, positive, over="rows"),
            "instance": label_structure(ours, theirs, positive, over="classes"),
        }
