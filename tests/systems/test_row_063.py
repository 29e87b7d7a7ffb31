"""SinKD (Cui et al., LREC-COLING 2024): predictions of a batch are moved onto the teacher's."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
def test_the_transport_teaches(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(
        tmp_path, "sinkd", "transport", config={"weight_distillation": 0.0, "weight_transport": 5.0}
    )
