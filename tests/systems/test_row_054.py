"""Udagawa et al.'s comparison of what to transfer: predictions, hidden states, or MiniLMv2's relations of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from systems.evidence import NAMES, Evidence, logged, moved
from torch import Tensor, nn

from limbeck.distill import distill
from limbeck.runner import run

# each of them: its term and its settings; the student's tokens are 6 wide, the teacher's 7
TRANSFERS = {
    "kd": ("distillation", {}),
    "hints": ("hint", {"layers": ["tokens=tokens"]}),
    "token_relations": ("relation", {"layers": ["tokens=tokens"], "weight_relation": 3.0}),
}


class TokenNet(nn.Module):
    """Sixteen tokens of a row, then their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(4, 16 * 6), nn.Tanh(), nn.Unflatten(1, (16, 6)))
        self.head = nn.Linear(6, len(NAMES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tokens(x).mean(1))


@pytest.mark.full
@pytest.mark.parametrize("method", TRANSFERS)
def test_each_transfer_teaches(method: str, evidence: Evidence, tmp_path: Path) -> None:
    term, config = TRANSFERS[method]
    torch.manual_seed(0)
    net = TokenNet()
    on = logged(distill(evidence.recipe(tmp_path / "on", method, config), student=net))
    zeroed = evidence.recipe(tmp_path / "off", method, {**config, f"weight_{term}": 0.0})
    off = logged(run(zeroed, student=net, show_progress=False))
    assert on.terms[term] < off.terms[term]
    assert moved(on.result, off.result)
    evidence.ships(on.result)
