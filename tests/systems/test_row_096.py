"""A2D (Jin et al., LREC-COLING 2024): a learned mixture of all heads of the student attends as the teacher's do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from systems.evidence import NAMES, Evidence, logged, moved
from torch import Tensor, nn

from limbeck.distill import distill
from limbeck.runner import run

CONFIG = {
    "maps": ["low.query*low.key", "high.query*high.key"],
    "teacher_maps": ["tokens*tokens"],
    "heads": 2,
    "teacher_heads": 7,
    "weight_alignment": 3.0,
}


class Attention(nn.Module):
    """Two heads of a self-attention over tokens ``[n, L, 6]``, by a kernel that shows no map."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(2, (2, 3)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        made = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + made.transpose(1, 2).flatten(2)


class TokenNet(nn.Module):
    """Sixteen tokens of a row, two layers of attention, the mean of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(4, 16 * 6), nn.Unflatten(1, (16, 6)))
        self.low, self.high, self.head = Attention(), Attention(), nn.Linear(6, len(NAMES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.high(self.low(self.tokens(x))).mean(1))


@pytest.mark.full
def test_aligned_maps_teach(evidence: Evidence, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TokenNet()
    on = logged(distill(evidence.recipe(tmp_path / "on", "a2d", CONFIG), student=net))
    zeroed = evidence.recipe(tmp_path / "off", "a2d", {**CONFIG, "weight_alignment": 0.0})
    off = logged(run(zeroed, student=net, show_progress=False))
    assert on.terms["alignment"] < off.terms["alignment"]
    assert moved(on.result, off.result)
    evidence.ships(on.result)
