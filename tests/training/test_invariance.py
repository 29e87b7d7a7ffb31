"""A step is the same however its batch is cut over micro-batches and ranks.

In float64, so that what is tested is the arithmetic of the cut and not float32 rounding, which Adam's division by
tiny second moments can blow up to the size of its steps; one case in float32 with SGD shows that nothing else is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from launching import launch
from levels import some_of
from safetensors.torch import load_file
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.methods.base import Method, Settings, Weight, weight

# Batches of unequal parts: 5 labelled rows and 8 pairs, or 4 bags of which one is smaller, in 2 or 4 parts.
CASES = {
    "supervised": ("supervised", "unpaired", {}),
    "kd": ("kd", "paired", {}),
    "kd, partly paired": ("kd", "partly_paired", {}),
    "fitnets by class": ("fitnets", "by_class", {}),
    "bagkd": ("bagkd", "bagged", {"ramp": 0.2}),
    "armada": ("armada", "paired", {}),
    "armada by class, trained by the match": ("armada", "by_class", {"match_trains_aligner": True}),
    "armada, partly paired, cosine": ("armada", "partly_paired", {"manifold": "cosine"}),
}
# Terms that couple rows: gathered over the ranks.
GATHERED = {
    "feature_ot gathered": ("feature_ot", "by_class", {"gather": True}),
    "feature_ot gathered, pairs": ("feature_ot", "paired", {"gather": True}),
    "ucmkd gathered": ("ucmkd", "by_class", {"gather": True}),
}


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def trained(toy: ModuleType, bank: Bank, folder: Path, case: tuple[str, str, dict], **arguments: Any) -> Any:
    method, link, config = case
    trainer = toy.trainer(method, folder, bank, link=link, config=config, **{"double": True, **arguments})
    trainer.train()
    return trainer


@pytest.mark.parametrize("name", some_of(CASES, "kd", "bagkd"))
def test_accumulated_is_whole(name: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    whole = toy.weights(trained(toy, bank, tmp_path / "whole", CASES[name]))
    cut = toy.weights(trained(toy, bank, tmp_path / "cut", CASES[name], gradient_accumulation_steps=4))
    assert difference(whole, cut) < 1e-10
    start = toy.weights(toy.distiller(CASES[name][0], bank))
    moved = max(float((whole[n] - start[n]).abs().max()) for n in start if n in whole)
    assert moved > 1e-2


@pytest.mark.full
def test_accumulated_is_whole_in_float32(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    arguments = {"double": False, "optim": "sgd", "learning_rate": 0.1}
    whole = toy.weights(trained(toy, bank, tmp_path / "whole", CASES["kd"], **arguments))
    cut = trained(toy, bank, tmp_path / "cut", CASES["kd"], gradient_accumulation_steps=4, **arguments)
    assert difference(whole, toy.weights(cut)) < 1e-5


def test_logged_terms_do_not_depend_on_the_cut(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    runs = [
        trained(toy, bank, tmp_path / str(parts), CASES["kd"], gradient_accumulation_steps=parts)
        for parts in (1, 4)
    ]
    logs = [[e for e in run.state.log_history if "term/supervised" in e] for run in runs]
    assert len(logs[0]) == 4
    for whole, cut in zip(*logs):
        for name in ("loss", "term/supervised", "term/distillation", "gradient_share/distillation"):
            assert cut[name] == pytest.approx(whole[name], rel=1e-6), name


@dataclass
class PositionsConfig(Settings):
    weight_squares: Weight = weight(1.0)


class Positions(Method):
    """One term a token: the mean of the squared logits over the tokens of the batch."""

    units = {"squares": "position"}
    Config = PositionsConfig

    def losses(self, b: Any) -> dict[str, Tensor]:
        return {"squares": b.student.logits.square().sum()}


def test_terms_of_positions(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of unequal length: tokens are counted by the attention mask."""
    from limbeck.training.trainer import DistillationTrainer

    rows = toy.examples(n_labelled=toy.N)
    lengths = torch.arange(toy.N) % 5 + 1
    rows.inputs["attention_mask"] = (torch.arange(5) < lengths[:, None]).long()

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(1, 3)

        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
            return self.head(x[..., None]) * attention_mask[..., None]

    weights = []
    for parts in (1, 4):
        made = toy.distiller("supervised", None)
        torch.manual_seed(0)
        made.student = _TokenStudent(Net())
        made.method = Positions(PositionsConfig(), made.method.shapes)
        collate = toy.collator("unpaired", None, rows=rows)
        collate.views = {}
        trainer = DistillationTrainer(
            made, toy.settings(tmp_path / str(parts), gradient_accumulation_steps=parts, optim="sgd"), collate,
            method_name="tokens",
        )  # fmt: skip
        trainer.train()
        weights.append(toy.weights(trainer))
    assert difference(*weights) < 1e-5


class _TokenStudent(torch.nn.Module):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = self.model = net

    def forward(self, inputs: dict[str, Tensor], hidden: Any = ()) -> Any:
        from limbeck.students.output import StudentOutput

        logits = self.net(**inputs).flatten(0, 1)
        return StudentOutput(features=logits, logits=logits)


# ---- several processes --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_are_one(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    """All terms with units, also with accumulation; and the gathered ones."""
    arguments: dict[str, Any] = {}
    chosen = {**CASES, **GATHERED}
    cases = [
        {"method": method, "link": link, "config": config, "arguments": arguments}
        for method, link, config in chosen.values()
    ]
    method, link, config = CASES["kd"]
    cases.append(
        {"method": method, "link": link, "config": config, "arguments": {"gradient_accumulation_steps": 2}}
    )
    launch(tmp_path, cases)
    for number, name in enumerate([*chosen, "kd"]):
        one = trained(toy, bank, tmp_path / f"one-{number}", {**chosen}[name])
        for rank in range(2):
            found = load_file(tmp_path / f"{number}-{rank}.safetensors")
            assert difference(toy.weights(one), found) < 1e-6, (name, rank)
        logged = json.loads((tmp_path / f"{number}-0.json").read_text())
        expected = [entry for entry in one.state.log_history if "loss" in entry]
        for mine, other in zip(expected, logged, strict=True):
            for key in mine:
                if key.startswith("term/"):
                    assert other[key] == pytest.approx(mine[key], rel=1e-4), (name, key)
