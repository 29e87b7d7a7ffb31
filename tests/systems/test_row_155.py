"""CSKD (Zhao et al., ICCV 2023): patches learn the teacher's answers at their places."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence

LAYER = {"layer": "3=maps"}  # the maps of the student's first convolution, of 8 by 8 places


@pytest.mark.full
def test_places_teach(evidence: Evidence, tmp_path: Path) -> None:
    config = {**LAYER, "weight_distillation": 0.0, "weight_spatial": 0.2}
    evidence.holds(tmp_path, "cskd", "spatial", config=config, student="picture")
