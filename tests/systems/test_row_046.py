"""MIX-KD (Choi et al., WACV 2023): a few mixtures for both sides, and mixup in the teacher's training by a switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from systems.evidence import Evidence, moved

from limbeck.distill import distill
from limbeck.training.distiller import Distiller


@pytest.mark.full
def test_few_mixtures_teach(evidence: Evidence, tmp_path: Path) -> None:
    config, training = {"partial": 0.5}, {"max_steps": 60, "learning_rate": 1e-2}
    evidence.holds(
        tmp_path, "mix_kd", "mixed", config=config, student="picture", training=training, **evidence.live
    )


@pytest.mark.full
def test_mixup_in_teacher_and_student_by_switches(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher that learned from mixtures is another one, and both sides are then shown the very same mixtures."""
    seen: dict[str, list[Any]] = {"student": [], "teacher": []}
    run, ask = Distiller._run, Distiller._ask
    few = {"max_steps": 3, "logging_steps": 1}
    monkeypatch.setattr(Distiller, "_run", lambda s, x: (seen["student"].append(x), run(s, x))[1])
    made = {}
    for alpha in (0.0, 1.0):
        folder = tmp_path / f"teacher{alpha}"
        own = {"mixup": alpha}
        made[alpha] = distill(
            evidence.recipe(folder, "supervised", own, student="picture", training={"max_steps": 12})
        )
        assert len(seen["student"]) == 12
        seen["student"].clear()
    assert moved(made[0.0], made[1.0])
    monkeypatch.setattr(Distiller, "_ask", lambda s, name, x: (seen["teacher"].append(x), ask(s, name, x))[1])
    teacher = {**evidence.live["teacher"], "init": str(tmp_path / "teacher1.0" / "student")}
    evidence.ran(tmp_path / "on", "mix_kd", student="picture", training=few, teacher=teacher)
    assert len(seen["teacher"]) == len(seen["student"]) == 3
    for ours, theirs in zip(seen["student"], seen["teacher"]):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)
