"""Cross-architecture distillation: a convolutional student's maps become a transformer's attention and tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.functional import hint_mse, partial_attention_gap
from limbeck.layers import GroupedLinear
from limbeck.methods.base import (
    Declared,
    Descent,
    Layers,
    Method,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.declared import pairs_of

TAUGHT = ("queries", "keys", "values", "tokens")


@dataclass
class CAKDConfig(Settings):
    layer: str = setting(
        "layer:-1=tokens",
        "STUDENT=TEACHER: maps of the student, and the tokens of the teacher that are matched one by one",
    )
    queries: str = setting("queries", "of the teacher: the linear layer that makes queries")
    keys: str = setting("keys", "of the teacher: the linear layer that makes keys")
    values: str = setting("values", "of the teacher: the linear layer that makes values")
    heads: int = setting(1, "of the teacher's attention", low=1)
    near: int = setting(4, "places of a square of the grid share a linear map, this many by this many", low=1)
    dropout: float = setting(0.1, "before the linear maps of the grid", low=0, below=1)
    critic_steps: int = setting(1, "descents of the critic in a step", low=1)
    critic_rate: float = setting(1e-3, "of the critic", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_attention: Weight = weight(1.0, "of attention and values")
    weight_tokens: Weight = weight(1.0, "of the tokens")
    weight_adversarial: Weight = weight(0.1, "of what the critic says of the student's tokens (lambda)")


class CAKD(Method):
    r"""Project the student's maps into queries, keys and values and into tokens, and let a critic judge the tokens.

    .. math:: L = w_s L_{CE} + \frac1p \sum_{i\,\text{paired}} w_a G(i) + w_t \frac1{l d} \|h_t(i) - P(h_s(i))\|^2
        + w_c \frac1l \sum_{k} \log\big(1 - D(P(h_s(i))_k)\big)

    with G of :func:`limbeck.functional.partial_attention_gap`, in which about half of the student's numbers are the
    teacher's, P a linear map for each square of neighbouring places (:class:`limbeck.layers.GroupedLinear`), and D a
    critic of three layers, which descends :math:`-\log D(h_t) - \log(1 - D(P(h_s)))` before each step. Nothing of it is
    exported. The student's maps are averaged to the teacher's square grid, whose class token, if it has one, is left
    out; both sides must show the same thing at the same place. The views that perturb the student are those of the
    data.

    Paper: Liu et al. (Cross-Architecture KD), ACCV 2022, arXiv 2207.05273, equations 1 to 10, from two accounts of the
    paper that quote them alike. Deviation: means over entries; the critic judges token by token; views are always on.
    """

    needs = {"hidden_states"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "attention": "pair", "tokens": "pair", "adversarial": "pair"}
    row = 45
    Config = CAKDConfig

    @classmethod
    def declared(cls, config: CAKDConfig) -> Declared:
        ((ours, tokens),) = pairs_of([config.layer])
        theirs = tuple(dict.fromkeys((config.queries, config.keys, config.values, tokens)))
        critic = Descent(
            "critic", moves="critic", steps=config.critic_steps, learning_rate=config.critic_rate
        )
        layers = Layers((ours,), {"teacher": theirs})
        return super().declared(config).with_(layers=layers, descents=(critic,))

    def __init__(self, config: CAKDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ((self.ours, tokens),) = pairs_of([config.layer])
        named = (config.queries, config.keys, config.values, tokens)
        self.theirs = dict(zip(TAUGHT, named, strict=True))
        maps = shapes.student.hidden[self.ours]
        states = {name: shapes.teacher.hidden[layer] for name, layer in self.theirs.items()}
        if len(maps) != 3:
            raise ConfigError(
                f"The layer {self.ours!r} of the student gives {list(maps)} a row, and maps are [channels, height, "
                "width]; name a layer of convolutions."
            )
        self.side = _side(states)
        width = states["queries"][1]
        if any(states[name][1] != width for name in ("keys", "values")) or width % config.heads:
            raise ConfigError(
                f"Queries, keys and values of the teacher need one width that {config.heads} heads divide; they have "
                f"{', '.join(str(states[name][1]) for name in TAUGHT[:3])}."
            )
        self.project = nn.ModuleList(nn.Conv2d(maps[0], width, 3, padding=1) for _ in range(3))
        wide = states["tokens"][1]
        self.to_tokens = GroupedLinear(maps[0], wide, self.side, config.near, config.dropout)
        self.critic = nn.Sequential(
            nn.Linear(wide, wide),
            nn.LeakyReLU(0.2),
            nn.Linear(wide, wide),
            nn.LeakyReLU(0.2),
            nn.Linear(wide, 1),
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        maps, taught = self._sides(b)
        ours = [layer(maps).flatten(2).mT for layer in self.project]
        borrowed = [torch.rand(x.shape, generator=b.generator).to(x.device) >= 0.5 for x in ours]
        gap = partial_attention_gap(
            (ours[0], ours[1], ours[2]),
            (taught["queries"], taught["keys"], taught["values"]),
            heads=self.config.heads,
            borrowed=(borrowed[0], borrowed[1], borrowed[2]),
            reduction="sum",
        )
        made = self.to_tokens(maps)
        match = hint_mse(made, taught["tokens"], reduction="none").flatten(1)
        fooled = -F.softplus(self.critic(made).float()).flatten(1)
        size = max(made.shape[1] * made.shape[2], 1)
        return {
            "supervised": b.label_loss(),
            "attention": gap,
            "tokens": match.sum() / size,
            "adversarial": fooled.sum() / max(made.shape[1], 1),
        }

    def descent_loss(self, b: StepBatch, name: str) -> Tensor:
        maps, taught = self._sides(b)
        made = self.critic(self.to_tokens(maps).detach())
        real = self.critic(taught["tokens"].to(made.dtype))
        if not len(maps):
            return (made.sum() + real.sum()) * 0
        return (F.softplus(made.float()) + F.softplus(-real.float())).mean()

    def _sides(self, b: StepBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's maps on the teacher's grid, and the teacher's states without its class token."""
        rows, said = b.teacher.paired()
        maps = b.student.hidden_states[self.ours][rows]
        maps = F.adaptive_avg_pool2d(maps, (self.side, self.side))
        states = {name: said["hidden_states"][layer].detach() for name, layer in self.theirs.items()}
        return maps, {name: x[:, -(self.side**2) :] for name, x in states.items()}


def _side(states: dict[str, tuple[int, ...]]) -> int:
    """Of the teacher's square grid of tokens; ConfigError where there is none."""
    lengths = {shape[0] for shape in states.values() if len(shape) == 2}
    if len(lengths) == 1 and all(len(shape) == 2 for shape in states.values()):
        (length,) = lengths
        for n in (length, length - 1):  # a class token comes first
            if n > 0 and math.isqrt(n) ** 2 == n:
                return math.isqrt(n)
    shown = ", ".join(f"{name} {list(shape)}" for name, shape in states.items())
    raise ConfigError(
        f"The teacher's states must be [tokens, width] over one square grid, with or without a class token; they are "
        f"{shown}."
    )
