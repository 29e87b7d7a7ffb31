"""Multi-aspect KD (Lee et al., CVPR workshops 2025): a model's yes or no to many questions about each row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from systems.evidence import NAMES, Evidence, N

from limbeck.banks.bank import Bank
from limbeck.teachers import CallableTeacher


@pytest.mark.full
def test_answers_teach_and_their_outputs_stay_behind(evidence: Evidence, tmp_path: Path) -> None:
    questions = torch.rand(len(NAMES), 6, generator=torch.Generator().manual_seed(0))
    rows = [{"key": f"{NAMES[i % 3]}{i // 3}", "number": float(i % 3)} for i in range(N)]
    model = CallableTeacher(
        lambda x: {"hidden_states": {"aspects": questions[torch.as_tensor(x["number"]).long()]}}
    )
    bank = Bank.build(tmp_path / "bank", model, rows, key="key")
    on = evidence.holds(tmp_path, "makd", "aspects", teacher={"bank": str(bank.path), "link": "paired"})
    outputs = list(on.result.student.state_dict().values())[-1]
    assert len(outputs) == len(NAMES)  # and no further one for each question
