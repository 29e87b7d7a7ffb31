"""Cross-architecture KD (Liu et al., ACCV 2022): maps of a convolutional student learn a transformer's attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from systems.evidence import Evidence

CONFIG = {
    "layer": "5=tokens",
    "queries": "tokens",
    "keys": "tokens",
    "values": "tokens",
    "heads": 7,
    "near": 2,
}
CONFIG |= {"weight_attention": 3.0, "weight_tokens": 3.0, "dropout": 0.0}


@pytest.mark.full
def test_projections_teach_and_a_critic_learns(evidence: Evidence, tmp_path: Path) -> None:
    on = evidence.holds(tmp_path, "cakd", "attention", "tokens", config=CONFIG, student="picture")
    assert on.shares["adversarial"] > 0
    still = evidence.ran(tmp_path / "still", "cakd", {**CONFIG, "critic_rate": 1e-9}, student="picture")
    moved, held = (dict(ran.result.method.named_parameters())["critic.0.weight"] for ran in (on, still))
    assert torch.isfinite(moved).all()
    assert float((moved - held).detach().abs().max()) > 1e-3
