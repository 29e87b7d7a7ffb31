"""ARMADA for students that write: one state of the prompt meets the teacher, and the aligner has no heads.

Axis legend: n student rows, L tokens of a row, p rows with a teacher row, d student width, D teacher width, w width of
the shared space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.layers.ts_aligner import projection
from limbeck.methods.alignment.armada_terms import DISTANCE
from limbeck.methods.base import Declared, Method, Settings, Shapes, StepBatch, Weight, setting, weight
from limbeck.signals.classes import UNLABELLED


@dataclass
class ARMADAWritingConfig(Settings):
    weight_supervised: Weight = weight(1.0, "of the loss of the answers' tokens")
    weight_manifold: Weight = weight(1.0, "of the distance of the two projections (beta)")
    weight_aligner: Weight = weight(1.0, "of the aligner's own reconstruction; it does not move the student")
    state: Literal["mean", "last"] = setting(
        "mean", "of a prompt's tokens: their mean, or the last, at which the answer begins"
    )
    manifold: Literal["pairs", "cosine"] = setting(
        "pairs", "pairs: mean Euclidean distance of pairs; cosine: one minus the cosine of pairs"
    )
    width: int = setting(768, "of the shared space", low=1)
    depth: int = setting(2, "linear layers of each projection", low=1)
    pretrain: Literal["no", "reconstruction"] = setting(
        "no",
        "reconstruction: a stage for the aligner alone, before the student's, as in the paper; the next stage starts "
        "from it by method.init",
        later=True,
    )
    aligner: Literal["trained", "frozen"] = setting(
        "trained", "frozen: its teacher's side stays as method.init left it, or as it was drawn", later=True
    )


class ARMADAWriting(Method):
    r"""Learn to write answers, and a space that a frozen teacher's representations share with the prompts'.

    .. math::
        z_t = g_t(t),\quad z_s = g_s(s),\quad L = w_s L_y + \beta M(z_s, z_t) + w_a \| r(z_t) - t \|^2 / D

    with the teacher's representation t of a row, the student's state s of its prompt (of what enters its head, see
    ``state``), projections g and a linear map r back to the teacher's, all trained along and not exported. L_y is the
    cross-entropy of the answers' tokens; M and the reconstruction run over all rows with a teacher row, answered or
    not. M does not move g_t: the aligner learns by reconstruction, as the paper has it for reasoning and instructions,
    and so needs no head over the vocabulary. It has 6 million parameters for a student of width 4,096 whatever the
    vocabulary. With ``pretrain: reconstruction`` it learns beforehand, without the student, as the paper trains it
    (the chain ``armada_writing_pretrained``); by default it learns along.

    Paper: Sengupta, Dixit, Akhtar, Chakraborty, arXiv 2603.10877, its generative tasks. Deviations: no match of outputs
    and no auxiliary heads (alpha and gamma 0); a LayerNorm before each projection.
    """

    needs = {"features"}
    links = {"paired", "partly_paired", "by_class"}
    problems = {"generation"}
    units = {"supervised": "labelled", "manifold": "pair", "aligner": "pair"}
    detached = {"aligner"}
    Config = ARMADAWritingConfig

    def __init__(self, config: ARMADAWritingConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        n_student, n_teacher = shapes.student.width, shapes.teacher.width
        self.student_projection = projection("student", n_student, config.width, config.depth)
        self.teacher_projection = projection("teacher", n_teacher, config.width, config.depth)
        self.reconstruction = nn.Linear(config.width, n_teacher)
        if config.aligner == "frozen":
            for part in (self.teacher_projection, self.reconstruction):
                part.requires_grad_(False)

    @classmethod
    def declared(cls, config: ARMADAWritingConfig) -> Declared:
        declared = super().declared(config)
        if config.aligner == "trained":
            alone = {"units": {"aligner": "pair"}, "student": "asked"}
            return declared if config.pretrain == "no" else declared.with_(**alone)
        if config.pretrain != "no":
            raise ConfigError(
                "An aligner that is 'frozen' has no stage of its own; leave out pretrain, or aligner."
            )
        units = {name: unit for name, unit in cls.units.items() if name != "aligner"}
        return declared.with_(units=units, detached=frozenset())

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        shown = said["features"].detach().to(self.reconstruction.weight.dtype)
        z_t = self.teacher_projection(shown)
        terms = {} if self.config.aligner == "frozen" else {"aligner": self._reconstruction_loss(z_t, shown)}
        if self.config.pretrain != "no":
            return terms
        prompt = b.inputs["attention_mask"].bool() & (b.targets.values == UNLABELLED)
        state = prompt_state(b.student.features, prompt, self.config.state)
        z_s = self.student_projection(state.to(shown.dtype))
        manifold = DISTANCE[self.config.manifold](z_s[rows], z_t.detach())
        return {"supervised": b.label_loss(), "manifold": manifold, **terms}

    def _reconstruction_loss(self, z_t: Tensor, shown: Tensor) -> Tensor:
        """Mean squared errors of rows ``shown [p, D]`` made again of projections ``[p, w]``: a sum over rows."""
        return (self.reconstruction(z_t) - shown).square().mean(1).sum()


def prompt_state(features: Tensor, prompt: Tensor, state: str) -> Tensor:
    """``[n, d]`` of features ``[n, L, d]`` where ``prompt [n, L]`` is true: their mean, or the last of them."""
    if state == "last":
        places = torch.arange(prompt.shape[1], device=prompt.device)
        last = torch.where(prompt, places, -1).amax(1).clamp(min=0)
        return features[torch.arange(len(features), device=features.device), last]
    kept = prompt.unsqueeze(-1).to(features.dtype)
    return (features * kept).sum(1) / kept.sum(1).clamp(min=1)
