"""MST-Distill: a gate on the student sends each row to one of several teachers, specialised by masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.functional import distillation_kl
from limbeck.layers import ChannelMask
from limbeck.methods.base import Declared, Method, Settings, Shapes, StepBatch, Weight, setting, weight
from limbeck.signals.teacher_rows import TeacherRows


@dataclass
class MSTConfig(Settings):
    stage: Literal["masks", "student"] = setting(
        "student", "what learns: the masks, or the student and the gate"
    )
    masks: int = setting(2, "specialised teachers that are made of each teacher", low=1)
    mask_width: int = setting(16, "numbers a channel has while a mask is decided, an even number", low=2)
    chosen: int = setting(1, "specialised teachers that teach a row (k)", low=1)
    temperature: float = setting(4.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of what the chosen teachers say")
    weight_balance: Weight = weight(1.0, "of the balance of the gate")
    weight_mask: Weight = weight(1.0, "of what the masks learn, a sum over them")


class MST(Method):
    r"""Learn from those specialised teachers that a gate, reading the student's own logits, ranks first.

    .. math:: L_1 = \frac{T^2}p \sum_i \sum_e KL\big(p_s^T(i) \,\|\, p_e^T(i)\big), \qquad
        L_2 = w_s L_{CE} + w_d \frac{T^2}{p\,k} \sum_i \sum_{e \in top_k(g(z_s(i)))}
        KL\big(p_e^T(i) \,\|\, p_s^T(i)\big) + w_b \frac1E KL\big(\tfrac1E \,\big\|\, \tfrac1p \sum_i g(z_s(i))\big)

    A specialised teacher e is a teacher's features times a mask that they decide (:class:`limbeck.layers.ChannelMask`),
    through the teacher's own head. In the stage ``masks`` the masks alone learn, towards the student; in the stage
    ``student`` they are held (``method.init``), and the student and the gate learn. The choice has no slope: the gate
    learns from the balance alone, as in the authors' code. Name several teachers (``teachers:``), of whatever
    modalities.

    Paper: Li et al., ACM MM 2025, arXiv 2507.07015, as the authors' code computes it. Deviation: teachers are held, so
    that the first of the three stages, in which all networks train together, is not there; masks lie on the last
    features, where theirs lie on several layers; a mask has fewer numbers a channel.
    """

    needs = {"features", "logits", "head"}
    links = {"paired", "partly_paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "balance": "batch", "mask": "pair"}
    detached = {"mask"}
    Config = MSTConfig

    @classmethod
    def declared(cls, config: MSTConfig) -> Declared:
        learns = {"mask"} if config.stage == "masks" else {"supervised", "distillation", "balance"}
        return (
            super()
            .declared(config)
            .with_(
                units={term: unit for term, unit in cls.units.items() if term in learns},
                detached=frozenset(cls.detached & learns),
            )
        )

    def __init__(self, config: MSTConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.experts = len(shapes.teachers) * config.masks
        if config.chosen > self.experts:
            raise ConfigError(
                f"The gate chooses {config.chosen} of {self.experts} specialised teachers (masks times teachers); "
                "lower chosen, or raise masks."
            )
        if config.mask_width % 2:
            raise ConfigError(f"mask_width is cut into two heads, so it is even, not {config.mask_width}.")
        self.masks = nn.ModuleDict(
            {
                name: nn.ModuleList(ChannelMask(side.width, config.mask_width) for _ in range(config.masks))
                for name, side in shapes.teachers.items()
            }
        )
        n = shapes.student.n_outputs
        self.gate = nn.Sequential(nn.Linear(n, 2 * n), nn.Linear(2 * n, self.experts))
        (self.masks if config.stage == "student" else self.gate).requires_grad_(False)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        if self.config.stage == "masks":
            return {"mask": self._masks_learn(b)}
        return {"supervised": b.label_loss(), **self._student_learns(b)}

    def _masks_learn(self, b: StepBatch) -> Tensor:
        total = sum((p.sum() * 0 for p in self.masks.parameters()), start=torch.zeros(()))
        for name, rows in b.teachers.items():
            at = torch.nonzero(rows.is_paired).squeeze(1)
            for said in self._specialised(name, rows):
                held = b.student.logits[at].detach()
                total = total + distillation_kl(
                    said, held, temperature=self.config.temperature, reduction="sum"
                )
        return total

    def _student_learns(self, b: StepBatch) -> Mapping[str, Tensor]:
        said, there = self._everything(b)  # [n, E, C] and [n, E]
        taught = there.any(1)
        said, there, logits = said[taught], there[taught], b.student.logits[taught]
        ranks = self.gate(logits.to(next(self.gate.parameters()).dtype)).float().log_softmax(1)
        chosen = ranks.masked_fill(~there, -torch.inf).topk(self.config.chosen, dim=1).indices
        known = there.gather(1, chosen)
        ours = logits[:, None].expand(-1, self.config.chosen, -1)
        theirs = said.gather(1, chosen[..., None].expand(-1, -1, said.shape[2]))
        gaps = distillation_kl(ours, theirs, temperature=self.config.temperature, reduction="none")
        share = (gaps * known).sum(1) / known.sum(1).clamp(min=1)
        return {"distillation": share.sum(), "balance": self._balance(ranks)}

    def _balance(self, ranks: Tensor) -> Tensor:
        """Divergence of the gate's mean from the uniform law, over the number of teachers; 0 without a row."""
        if not len(ranks):
            return ranks.sum() * 0
        mean = ranks.logsumexp(0) - math.log(len(ranks))
        return -(mean.mean() + math.log(self.experts)) / self.experts

    def _everything(self, b: StepBatch) -> tuple[Tensor, Tensor]:
        """Logits of all specialised teachers for all rows (0 where one says nothing), and who says something."""
        found, there = [], []
        for name, rows in b.teachers.items():
            at = torch.nonzero(rows.is_paired).squeeze(1)
            for said in self._specialised(name, rows):
                found.append(said.new_zeros(len(b), said.shape[1]).index_copy(0, at, said).detach())
                there.append(rows.is_paired)
        return torch.stack(found, 1), torch.stack(there, 1)

    def _specialised(self, name: str, rows: TeacherRows) -> list[Tensor]:
        """Logits ``[p, C]`` of each specialised teacher, of the rows that this teacher answered."""
        _, said = rows.paired()
        weight, bias = (None if part is None else part.detach().float() for part in said["head"])
        assert weight is not None
        features, masks = said["features"].detach(), cast(nn.ModuleList, self.masks[name])
        kind = next(masks.parameters()).dtype
        shown = [features.float() * mask(features.to(kind)).float() for mask in masks]
        return [x @ weight.T + (0 if bias is None else bias) for x in shown]
