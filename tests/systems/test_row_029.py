"""DistilCSE (Gao et al., 2021): contrast with a queue on rows without labels, then labels; the chain `ckd` has both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from systems.evidence import Evidence, Ran, logged

from limbeck.distill import distill


@pytest.mark.full
def test_contrast_teaches_and_its_student_is_tuned(evidence: Evidence, tmp_path: Path) -> None:
    on = evidence.holds(tmp_path, "ckd", "contrast", config={"queue": 32})
    assert on.shares.get("supervised", 0.0) == 0.0
    tuned = evidence.recipe(tmp_path / "tuned", "supervised", training={"max_steps": 8})
    start = replace(tuned.student, init=str(on.result.folder / "student"))
    after = logged(distill(replace(tuned, student=start)))
    fresh = logged(distill(replace(tuned, output_dir=str(tmp_path / "fresh"))))
    first = {name: value.detach() for name, value in on.result.student.named_parameters()}

    def moved_by(ran: Ran) -> float:
        return sum(
            float((value.detach() - first[n]).square().sum())
            for n, value in ran.result.student.named_parameters()
        )

    assert moved_by(after) < moved_by(fresh)  # it went on from there
    assert all(torch.isfinite(value).all() for value in first.values())
    evidence.ships(after.result)
