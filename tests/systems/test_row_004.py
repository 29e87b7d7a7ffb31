"""WCoRD (Chen et al., CVPR 2021): a critic's contrast of pairs with strangers, and transport inside a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
def test_both_forms_teach(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "wcord", "global", "local", config={"queue": 32})
