"""Methods with a critic or a generator, as a package of somebody else would bring them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.functional.relations.critic import wasserstein_critic
from limbeck.methods.base import (
    Declared,
    Descent,
    Method,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)


@dataclass
class ImaginedConfig(Settings):
    critic_steps: int = setting(3, "descents of the critic in a step", low=1)
    critic_rate: float = setting(1e-2, "of the critic", above=0)
    penalty: float = setting(10.0, "of the critic's slope", low=0)
    weight_supervised: Weight = weight(1.0)
    weight_imagined: Weight = weight(0.1)
    weight_contrast: Weight = weight(1.0)


class Imagined(Method):
    """Missing features are imagined, and a critic tells them from real ones."""

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "imagined": "batch", "contrast": "batch"}
    Config = ImaginedConfig

    @classmethod
    def declared(cls, config: ImaginedConfig) -> Declared:
        critic = Descent(
            "critic", moves="critic", steps=config.critic_steps, learning_rate=config.critic_rate
        )
        return super().declared(config).with_(descents=(critic,))

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.generator = nn.Linear(shapes.student.width, shapes.teacher.width)
        self.critic = nn.Sequential(nn.Linear(shapes.teacher.width, 8), nn.Tanh(), nn.Linear(8, 1))

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        made = self.generator(b.student.features)
        alike = F.normalize(made[rows]) @ F.normalize(said["features"].to(made)).T / 0.1
        contrast = F.cross_entropy(alike, torch.arange(len(alike))) if len(alike) else 0.0 * alike.sum()
        return {"supervised": b.label_loss(), "imagined": -self.critic(made).mean(), "contrast": contrast}

    def descent_loss(self, b: StepBatch, name: str) -> Tensor:
        made = self.generator(b.student.features).detach()
        real = b.teacher.said["features"].to(made)
        return wasserstein_critic(self.critic, made, real, penalty=self.config.penalty, generator=b.generator)
