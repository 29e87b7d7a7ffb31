"""TED: filters that learned the task choose what of each layer the student is to match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.functional import distillation_kl, hint_mse
from limbeck.layers.pooling import pool
from limbeck.methods.base import (
    Declared,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.features.hints import mask_of, pooled_like, vectors_of, width_of
from limbeck.methods.layer_pairs import OverLayerPairs


@dataclass
class TEDConfig(Settings):
    stage: Literal["filters", "student"] = setting(
        "student", "what learns: the filters of both sides, or the student and its filters"
    )
    layers: list[str] = setting(
        ["layer:50%=layer:50%"],
        "pairs of layers, STUDENT=TEACHER: a module path, layer:4, layer:-1 or layer:50%",
    )
    width: int = setting(0, "what the filters give, 0: as many numbers as the teacher's layer", low=0)
    nonlinear: bool = setting(False, "filters of two layers with a GELU between, in the place of one")
    temperature: float = setting(2.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence of the predictions (alpha_1)")
    weight_match: Weight = weight(1.0, "of the filtered states, averaged over the layers (alpha_2)")
    weight_student_filter: Weight = weight(1.0, "of the task of the student's filters")
    weight_teacher_filter: Weight = weight(1.0, "of the task of the teacher's filters")


class TED(OverLayerPairs):
    r"""Match states that went through a filter on each side, where both filters learned the task before.

    .. math:: L_1 = \frac1{|P|} \sum_{(a, b) \in P} w_f L\big(g_s(r_a(h_s^a))\big) + w_g L\big(g_t(r_b(h_t^b))\big),
        \qquad L_2 = w_s L_{CE} + w_d T^2 KL(p_t^T \| p_s^T) + w_m \frac1{|P|} \sum_P
        \frac1D \|r_a(h_s^a) - r_b(h_t^b)\|^2

    In the stage ``filters`` both networks are held, and filters r with heads g learn the task from their layers; in the
    stage ``student`` the heads are gone, the teacher's filters are held, and the student learns with its own. The chain
    ``ted`` runs both; a ``student`` stage without ``method.init`` starts from filters that learned nothing. A row of
    the teacher whose student row has no label takes the teacher's likeliest class for it.

    Paper: Liang et al., ICML 2023, arXiv 2210.01351, as the authors' code computes it. Deviation: the task is learned
    from the mean over tokens or places, in the place of the first token.
    """

    needs = {"hidden_states", "logits"}
    problems = {"classification"}
    units = {
        "supervised": "labelled",
        "distillation": "pair",
        "match": "pair",
        "student_filter": "labelled",
        "teacher_filter": "pair",
    }
    detached = {"student_filter", "teacher_filter"}
    row = 111
    Config = TEDConfig

    @classmethod
    def declared(cls, config: TEDConfig) -> Declared:
        plain = super().declared(config)
        learns = cls.detached if config.stage == "filters" else set(cls.units) - cls.detached
        return plain.with_(
            units={term: unit for term, unit in cls.units.items() if term in learns},
            detached=frozenset(cls.detached & learns),
        )

    def __init__(self, config: TEDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.ours, self.theirs = nn.ModuleList(), nn.ModuleList()
        self.heads_s, self.heads_t = nn.ModuleList(), nn.ModuleList()
        for s, t in self.pairs:
            widths = width_of(shapes.student.hidden[s]), width_of(shapes.teacher.hidden[t])
            made = config.width or widths[1]
            for filters, width in zip((self.ours, self.theirs), widths):
                filters.append(_filter(width, made, nonlinear=config.nonlinear))
            if config.stage == "filters":
                for heads in (self.heads_s, self.heads_t):
                    n = shapes.student.n_outputs
                    heads.append(nn.Sequential(nn.Linear(made, made), nn.GELU(), nn.Linear(made, n)))
        if config.stage == "student":
            self.theirs.requires_grad_(False)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        return self._filters(b) if self.config.stage == "filters" else self._student(b)

    def _filters(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        classes = b.classes[rows]
        classes = torch.where(classes >= 0, classes, said.log_predictions().argmax(-1))
        ours, theirs = [], []
        for i, (s, t) in enumerate(self.pairs):
            states = vectors_of(b.student.hidden_states[s].detach())
            made = _pooled(self.ours[i](states), b.inputs.get("attention_mask"))
            ours.append(b.label_loss(self.heads_s[i](made)))
            taught = vectors_of(said["hidden_states"][t].detach()).to(states.dtype)
            made = _pooled(self.theirs[i](taught), mask_of(b, rows))
            theirs.append(F.cross_entropy(self.heads_t[i](made).float(), classes, reduction="sum"))
        return {"student_filter": torch.stack(ours).mean(), "teacher_filter": torch.stack(theirs).mean()}

    def _student(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        gaps = []
        for i, (s, t) in enumerate(self.pairs):
            taught = vectors_of(said["hidden_states"][t].detach())
            ours = self.ours[i](pooled_like(b.student.hidden_states[s][rows], taught, mask_of(b, rows)))
            gap = hint_mse(ours, self.theirs[i](taught.to(ours.dtype)), reduction="none")
            gaps.append(gap.flatten(1).mean(1).sum() if gap.ndim > 1 else gap.sum() / ours.shape[-1])
        t = self.config.temperature
        match = distillation_kl(
            b.student.logits[rows], said.log_predictions(), temperature=t, reduction="sum"
        )
        return {"supervised": b.label_loss(), "distillation": match, "match": torch.stack(gaps).mean()}


def _filter(width: int, made: int, *, nonlinear: bool) -> nn.Module:
    if not nonlinear:
        return nn.Linear(width, made)
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, made))


def _pooled(states: Tensor, mask: Any) -> Tensor:
    """One vector a row: the mean over tokens that count."""
    return pool(states, "mean", mask) if states.ndim == 3 else states
