"""TED (Liang et al., ICML 2023): filters learn the task on held networks; the student matches what they let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from systems.evidence import Evidence, Ran, logged, moved

from limbeck.distill import distill
from limbeck.methods.parts import parts_in

LAYERS = {"layers": ["2=maps", "5=maps"], "width": 6}


def stage(evidence: Evidence, folder: Path, init: Path | None = None, **config: Any) -> Ran:
    recipe = evidence.recipe(folder, "ted", LAYERS | config, student="picture")
    recipe = replace(recipe, method=replace(recipe.method, init=None if init is None else str(init)))
    return logged(distill(recipe))


@pytest.mark.full
def test_filters_learn_and_then_choose(evidence: Evidence, tmp_path: Path) -> None:
    filters = stage(evidence, tmp_path / "filters", stage="filters")
    idle = stage(
        evidence, tmp_path / "idle", stage="filters", weight_student_filter=0.0, weight_teacher_filter=0.0
    )
    for term in ("student_filter", "teacher_filter"):
        assert filters.terms[term] < idle.terms[term]
    assert not moved(filters.result, idle.result), "the networks are not held while their filters learn"

    config = {"weight_distillation": 0.0, "weight_match": 3.0}
    on = stage(evidence, tmp_path / "on", tmp_path / "filters", **config)
    off = stage(evidence, tmp_path / "off", tmp_path / "filters", **config | {"weight_match": 0.0})
    assert on.terms["match"] < off.terms["match"]
    assert moved(on.result, off.result)
    learned, kept = parts_in(tmp_path / "filters"), parts_in(tmp_path / "on")
    assert torch.equal(learned["theirs.1.weight"], kept["theirs.1.weight"])
    assert not torch.equal(learned["ours.1.weight"], kept["ours.1.weight"])
    evidence.ships(on.result, "picture")
