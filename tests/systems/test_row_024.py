"""LumiNet (Hossain et al.): logits standardised by class over the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
def test_the_perception_teaches(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "luminet", "perception")
