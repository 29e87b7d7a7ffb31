"""OFA-KD (Hao et al., NeurIPS 2023): inner layers predict too, each through a head of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
@pytest.mark.parametrize(("student", "layer"), [("table", "1"), ("picture", "2")])
def test_branches_teach(student: str, layer: str, evidence: Evidence, tmp_path: Path) -> None:
    config = {"layers": [layer], "weight_distillation": 0.0, "weight_branches": 3.0}
    evidence.holds(tmp_path, "ofa_kd", "branches", config=config, student=student)
