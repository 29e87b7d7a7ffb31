"""Beyer et al., CVPR 2022: a patient teacher that is shown the very pixels that the student is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from systems.evidence import Evidence

from limbeck.training.distiller import Distiller


@pytest.mark.full
def test_mixtures_teach_without_labels(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "function_matching", "mixed", student="picture", **evidence.live)


@pytest.mark.full
def test_both_see_the_same_pixels(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Any]] = {"student": [], "teacher": []}
    run, ask = Distiller._run, Distiller._ask
    monkeypatch.setattr(Distiller, "_run", lambda s, x: (seen["student"].append(x), run(s, x))[1])
    monkeypatch.setattr(Distiller, "_ask", lambda s, name, x: (seen["teacher"].append(x), ask(s, name, x))[1])
    few = {"max_steps": 2, "logging_steps": 1}
    evidence.ran(tmp_path, "function_matching", student="picture", training=few, **evidence.live)
    assert len(seen["teacher"]) == 2
    for inputs in seen["teacher"]:
        assert any(
            inputs.keys() == x.keys() and all(x[k].equal(v) for k, v in inputs.items())
            for x in seen["student"]
        )
