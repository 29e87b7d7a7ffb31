"""DHKD (Yang et al., KDD 2025): a second head takes the teacher's logits, and stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence


@pytest.mark.full
@pytest.mark.parametrize("nonlinear", [False, True])
def test_the_second_head_teaches_the_features(nonlinear: bool, evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "dhkd", "logits", config={"nonlinear": nonlinear})


@pytest.mark.full
def test_the_students_own_head_is_taught_by_labels_alone(evidence: Evidence, tmp_path: Path) -> None:
    on, off = (
        evidence.ran(tmp_path / str(w), "dhkd", {"weight_supervised": 0.0, "weight_logits": w}).result.student
        for w in (1.0, 0.0)
    )
    (*_, last), (*_, none) = (list(s.named_parameters()) for s in (on, off))
    assert last[0] == none[0]
    assert (last[1] == none[1]).all()  # its head did not move
    assert any((a != b).any() for (_, a), (_, b) in zip(on.named_parameters(), off.named_parameters()))
