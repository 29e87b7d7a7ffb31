"""e2KD (Parchami-Araghi et al., ECCV 2024): the student looks where the teacher looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
@pytest.mark.parametrize("explanation", ["maps", "given"])
def test_explanations_teach(explanation: str, evidence: Evidence, tmp_path: Path) -> None:
    layer = "5=maps" if explanation == "maps" else "5=seen"
    config = {
        "layer": layer,
        "explanation": explanation,
        "weight_distillation": 0.0,
        "weight_explanation": 5.0,
    }
    evidence.holds(tmp_path, "e2kd", "explanation", config=config, student="picture")
