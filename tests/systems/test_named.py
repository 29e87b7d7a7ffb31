"""Systems that are asked for by name and have no row of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from systems.evidence import Evidence, Ran, logged, moved

from limbeck.distill import distill
from limbeck.recipes import StudentSpec, TeacherSpec
from limbeck.runner import run

# preset or method, its defining terms, settings
ON_TABLES = {
    "kd": ("kd", ("distillation",), {}),
    "dkd": ("dkd", ("distillation",), {}),
    "mlld": ("mlld", ("instance", "batch", "class"), {}),
    "logit_std": ("logit_std", ("distillation",), {}),
    "pkt": ("pkt", ("relation",), {}),
    "sp": ("sp", ("relation",), {}),
    "crd": ("crd", ("contrast",), {"queue": 48}),
    "c2kd": ("c2kd", ("exchange",), {"agreement": -1.0}),
    "vid": ("vid", ("information",), {}),
}
ON_PICTURES = {
    "at": ("match", {"layers": ["5=maps"]}),
    "nst": ("match", {"layers": ["5=maps"]}),
    "kd_svd": ("correlation", {"layers": ["2=maps", "5=maps"], "vectors": 2, "weight_correlation": 3.0}),
    "ofd": ("match", {"layers": ["4=maps"], "weight_match": 0.05}),
    "reviewkd": ("review", {"layers": ["5=maps"], "width": 8}),
}


@pytest.mark.full
@pytest.mark.parametrize("name", ON_TABLES)
def test_on_tables(name: str, evidence: Evidence, tmp_path: Path) -> None:
    method, terms, config = ON_TABLES[name]
    evidence.holds(tmp_path, method, *terms, config=config)


@pytest.mark.full
@pytest.mark.parametrize("name", ON_PICTURES)
def test_on_pictures(name: str, evidence: Evidence, tmp_path: Path) -> None:
    term, config = ON_PICTURES[name]
    evidence.holds(tmp_path, name, term, config=config, student="picture")


@pytest.mark.full
def test_two_students_teach_each_other(evidence: Evidence, tmp_path: Path) -> None:
    peers = {"fellow": {"model": "table_encoder"}}
    on = evidence.holds(tmp_path, "dml", "to_student", config={"weight_to_student": 3.0}, peers=peers)
    assert on.shares["fellow_supervised"] == on.shares["to_fellow"] == 0  # the fellow is not the student


@pytest.mark.full
def test_an_average_of_the_student_teaches_it(evidence: Evidence, tmp_path: Path) -> None:
    peers = {"ema": {"follows": 0.9}}
    config = {"weight_consistency": 30.0}
    on = evidence.holds(tmp_path, "mean_teacher", "consistency", config=config, peers=peers)
    assert on.shares["consistency"] > 0


@pytest.mark.full
def test_a_widened_student_matches_in_groups(evidence: Evidence, tmp_path: Path) -> None:
    """NORM: four groups of the teacher's seven channels; the block is shipped with the student."""
    wide = StudentSpec("small_conv_net", {"channels": [4, 8], "widened": 28})
    config = {"layer": "6.wide=maps", "weight_match": 0.3}
    recipe = replace(evidence.recipe(tmp_path / "on", "norm", config, student="picture"), student=wide)
    on = logged(distill(recipe))
    off = replace(recipe, output_dir=str(tmp_path / "off"))
    off = replace(off, method=replace(off.method, config={**config, "weight_match": 0.0}))
    assert on.terms["match"] < logged(run(off, show_progress=False)).terms["match"]
    assert any("6.narrow" in name for name, _ in on.result.student.named_parameters())
    evidence.ships(on.result, "picture")


@pytest.mark.full
def test_specialised_teachers_teach(evidence: Evidence, tmp_path: Path) -> None:
    """MST-Distill, of two teachers: the masks learn while the student is held, then the student and the gate learn."""
    bank = TeacherSpec(bank=str(evidence.root / "bank"), link="paired")

    def ran(name: str, init: str | None = None, **config: Any) -> Ran:
        recipe = evidence.recipe(tmp_path / name, "mst_distill", config)
        method = replace(recipe.method, init=init)
        both = {"picture": bank, "sound": bank}
        return logged(distill(replace(recipe, method=method, teacher=TeacherSpec(), teachers=both)))

    masks, idle = ran("masks", stage="masks"), ran("idle", stage="masks", weight_mask=0.0)
    assert masks.terms["mask"] < idle.terms["mask"]
    assert not moved(masks.result, idle.result)
    init = str(tmp_path / "masks")
    found = {
        name: ran(name, init, weight_distillation=weight, weight_balance=weight)
        for name, weight in (("on", 1.0), ("off", 0.0))
    }
    for term in ("distillation", "balance"):
        assert found["on"].terms[term] < found["off"].terms[term]
    assert moved(found["on"].result, found["off"].result)
    evidence.ships(found["on"].result)


@pytest.mark.full
def test_a_system_without_its_defining_term_does_not_work(evidence: Evidence, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not lower it"):
        evidence.holds(
            tmp_path, "rkd", "distance", "angle", config={"weight_distance": 0.0, "weight_angle": 0.0}
        )
