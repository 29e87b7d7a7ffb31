"""CutMixPick (Wang et al., NeurIPS 2022): the mixtures of which the teacher is least sure."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
def test_picked_mixtures_teach(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "cutmix_pick", "mixed", student="picture", **evidence.live)
