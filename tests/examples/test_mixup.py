"""Mixup (Zhang et al., ICLR 2018, arXiv 1710.09412) is a method of ten lines over ``b.run``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from limbeck.methods.base import Method, Settings, StepBatch, Weight, weight
from limbeck.methods.registry import METHODS


@dataclass
class MixupConfig(Settings):
    weight_mixed: Weight = weight(1.0)


class Mixup(Method):
    """Rows half-way between two are labelled half-way between theirs."""

    units = {"mixed": "labelled"}
    Config = MixupConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows = torch.nonzero(b.labelled).squeeze(1)
        other = rows[torch.randperm(len(rows), generator=b.generator)]
        share = float(torch.rand((), generator=b.generator))
        mixed = b.run({name: share * x[rows] + (1 - share) * x[other] for name, x in b.inputs.items()})
        return {"mixed": share * b.label_loss(mixed, rows) + (1 - share) * b.label_loss(mixed, other)}


def test_it_trains(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "mixup", f"{__name__}:Mixup")
    monkeypatch.setitem(toy.LINK, "mixup", "unpaired")
    rows = toy.examples()
    trainer = toy.trainer("mixup", tmp_path, None, rows=rows, validation=rows, max_steps=60)
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.9
