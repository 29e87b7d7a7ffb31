"""Systems that are asked for by name and have no row of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems.evidence import Evidence

# preset or method, its defining terms, settings
ON_TABLES = {
    "kd": ("kd", ("distillation",), {}),
    "dkd": ("dkd", ("distillation",), {}),
    "mlld": ("mlld", ("instance", "batch", "class"), {}),
    "logit_std": ("logit_std", ("distillation",), {}),
    "pkt": ("pkt", ("relation",), {}),
    "sp": ("sp", ("relation",), {}),
    "crd": ("crd", ("contrast",), {"queue": 48}),
    "vid": ("vid", ("information",), {}),
}
ON_PICTURES = {
    "at": ("match", {"layers": ["5=maps"]}),
    "nst": ("match", {"layers": ["5=maps"]}),
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
def test_a_system_without_its_defining_term_does_not_work(evidence: Evidence, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not lower it"):
        evidence.holds(
            tmp_path, "rkd", "distance", "angle", config={"weight_distance": 0.0, "weight_angle": 0.0}
        )
