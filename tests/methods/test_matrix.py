"""Every method and preset, over every problem and every link that it claims: it trains, and what it says is finite."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from toy import ASK_LIVE

from limbeck.banks.bank import Bank
from limbeck.methods.declared import Layers
from limbeck.methods.registry import METHODS, PRESETS, plan_method
from limbeck.problems.registry import PROBLEMS, problem_class

PLANS = {name: plan_method(name) for name in sorted({*METHODS, *PRESETS})}
AT_ROWS = [kind for kind in sorted(PROBLEMS) if problem_class(kind).reading == "classifier"]
CASES = [
    (name, kind, link)
    for name, plan in PLANS.items()
    if plan.declared.layers == Layers()  # has no layers here; see its own tests
    if name not in ASK_LIVE
    for kind in sorted(plan.declared.problems or AT_ROWS)
    if kind in AT_ROWS  # the others are trained in tests/problems/test_other_readings.py
    for link in sorted(plan.declared.links or {"unpaired"})
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "kind", "link"), CASES)
def test_it_trains(name: str, kind: str, link: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    rows = toy.posed(kind)
    if link == "by_class" and rows.problem.classes(rows.targets) is None:
        pytest.skip(
            f"the rows of a {kind} have no class that a teacher's row could share; the plan refuses it"
        )
    if kind == "multilabel" and "logits" in PLANS[name].declared.needs:  # of the same two labels
        likely = torch.randn(len(bank), 2, generator=torch.Generator().manual_seed(0))
        own = {"logits": likely, "class_names": rows.problem.names, "labels": None, "head": None}
        bank = toy.bank(tmp_path / "labels", **own)
    net = partial(toy.plain_net, len(rows.problem.names))
    run = toy.trainer(
        name,
        tmp_path,
        bank,
        link=link,
        net=net,
        rows=rows,
        ema="ema" in PLANS[name].declared.peers,
        max_steps=6,
    )
    before = toy.weights(run)
    run.train()
    moved = [key for key, value in toy.weights(run).items() if not torch.equal(value, before[key])]
    assert any(key.startswith("student.") for key in moved)
    assert all(bool(torch.isfinite(value).all()) for value in toy.weights(run).values())
    logged = [entry for entry in run.state.log_history if "loss" in entry]
    assert logged
    assert all(math.isfinite(entry["loss"]) for entry in logged)
