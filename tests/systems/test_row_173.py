"""FitNets (Romero et al., ICLR 2015): hints through a learned regressor; the chain `fitnets` has both stages."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


def test_a_hint_teaches(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "fitnets", "hint")


@pytest.mark.full
def test_hints_of_layers_teach(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "hints", "hint", config={"layers": ["5=maps"]}, student="picture")
