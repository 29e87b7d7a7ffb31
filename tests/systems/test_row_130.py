"""Norm and direction (Wang et al., KD++): features point to the teacher's class means."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from systems.evidence import NAMES, Evidence

from limbeck.banks.bank import Bank
from limbeck.training.teacher_reading import class_means


@pytest.mark.full
def test_norm_and_direction_teach(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "nd", "direction", config={"weight_distillation": 0.0, "weight_direction": 5.0})


@pytest.mark.full
@pytest.mark.parametrize("told", [True, False], ids=["by labels", "by the teacher's own classes"])
def test_class_means_are_those_of_the_bank(told: bool, evidence: Evidence, tmp_path: Path) -> None:
    whole = Bank.open(evidence.root / "bank").blocks(1000)
    said = next(iter(whole))
    labels = said.labels if told else None
    logits = said.logits.roll(1, 1)  # the teacher is wrong throughout
    given = {
        "keys": said.keys,
        "features": said.features,
        "logits": logits,
        "class_names": NAMES,
        "labels": labels,
    }
    bank = Bank.from_arrays(tmp_path / "bank", **given)
    classes = said.labels if told else logits.argmax(1)
    means = torch.stack([said.features[classes == c].mean(0) for c in range(3)])
    assert torch.allclose(class_means(bank), means, atol=1e-6)
    spec = {"bank": str(bank.path), "link": "paired"}
    ran = evidence.ran(tmp_path / "run", "nd", teacher=spec, training={"max_steps": 1, "logging_steps": 1})
    assert ran.terms["direction"] > 0
