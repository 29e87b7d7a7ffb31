"""Norm and direction (Wang et al., KD++): features point to the teacher's class means."""

from __future__ import annotations

from pathlib import Path

from systems.evidence import Evidence


def test_norm_and_direction_teach(evidence: Evidence, tmp_path: Path) -> None:
    on = evidence.holds(
        tmp_path, "nd", "direction", config={"weight_distillation": 0.0, "weight_direction": 5.0}
    )
    assert on.result.student is not None
