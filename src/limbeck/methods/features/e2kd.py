"""Explanation-enhanced distillation: the student predicts as the teacher does, and looks where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import activation_map, distillation_kl, explanation_gap
from limbeck.methods.base import (
    Declared,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.layer_pairs import OverLayerPair


@dataclass
class E2KDConfig(Settings):
    layer: str = setting(
        "layer:-1", "STUDENT=TEACHER, the last maps of both: a module path, layer:4 or layer:-1"
    )
    explanation: Literal["maps", "given"] = setting(
        "maps", "the teacher's layer holds maps, explained by its head; or explanations that were made before"
    )
    temperature: float = setting(1.0, "softens both sides (tau)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence")
    weight_explanation: Weight = weight(1.0, "of the explanations (lambda)")


class E2KD(OverLayerPair):
    r"""Match predictions, and the explanations of the class that the teacher predicts.

    .. math:: L = w_s L_{CE} + \frac1p \sum_{i\,\text{paired}} w_d \tau^2 KL(p_t^\tau(i) \,\|\, p_s^\tau(i))
        + w_e \big(1 - \cos(E_s(i, \hat y_t), E_t(i, \hat y_t))\big)

    The student's explanation is GradCAM at its layer. The teacher's is that of its maps ``[K, h, w]`` through its head
    (the class activation map, which is GradCAM of a linear head after the mean over positions), or one that was made
    before, ``[h, w]``, of whatever kind. Both sides must show the same thing at the same place.

    Paper: Parchami-Araghi et al., ECCV 2024, arXiv 2402.03119, as the authors' code computes it (the positive GradCAM
    of the class that the teacher ranks first). Deviation: their code stretches both explanations to the size of the
    picture; here grids of two sizes are averaged to the smaller one.
    """

    needs = {"logits", "hidden_states"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "explanation": "pair"}
    row = 70
    Config = E2KDConfig

    @classmethod
    def declared(cls, config: E2KDConfig) -> Declared:
        plain = super().declared(config)
        return plain.with_(needs=plain.needs | {"head"}) if config.explanation == "maps" else plain

    def __init__(self, config: E2KDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ours, theirs = shapes.student.hidden[self.ours], shapes.teacher.hidden[self.theirs]
        if len(ours) != 3 or ours[0] != shapes.student.width:
            raise ConfigError(
                f"The layer {self.ours!r} of the student gives {list(ours)} a row, and its head takes "
                f"{shapes.student.width} numbers: wanted are the maps [channels, height, width] whose means it takes."
            )
        if len(theirs) != (wanted := {"maps": 3, "given": 2}[config.explanation]):
            what = (
                "maps are [channels, height, width]" if wanted == 3 else "an explanation is [height, width]"
            )
            raise ConfigError(
                f"The layer {self.theirs!r} of the teacher gives {list(theirs)} a row, and {what}."
            )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        logits, theirs = b.student.logits, said.log_predictions()
        classes = theirs.argmax(-1)
        seen = said["hidden_states"][self.theirs]
        if self.config.explanation == "maps":
            seen = activation_map(seen, said["head"][0][classes])
        ours: Any = b.student.head
        gap = explanation_gap(
            activation_map(b.student.hidden_states[self.ours][rows], ours[0][classes]), seen, reduction="sum"
        )
        t = self.config.temperature
        match = distillation_kl(logits[rows], theirs, temperature=t, reduction="sum")
        return {"supervised": b.label_loss(), "distillation": match, "explanation": gap}
