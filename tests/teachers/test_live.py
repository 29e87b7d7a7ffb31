"""A live teacher answers as the bank that was made of it, and trains the same student."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import toy
from torch import nn

from limbeck.banks.bank import Bank
from limbeck.banks.controls import shuffled
from limbeck.data.base import Examples
from limbeck.errors import ConfigError, DataError, MissingKeysError, NonFiniteError
from limbeck.signals.pairing import Pairing
from limbeck.teachers.live import LiveTeacher
from limbeck.teachers.module import ModuleTeacher

CLASSES = ("ant", "bee", "cat")


def make(n: int = 48) -> tuple[ModuleTeacher, Examples]:
    torch.manual_seed(0)
    teacher = ModuleTeacher(nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3)), class_names=CLASSES)
    labels = torch.arange(n) % 3
    return teacher, Examples({"x": torch.randn(n, 4)}, tuple(f"t{i}" for i in range(n)), labels, CLASSES)


@pytest.fixture
def both(tmp_path: Path) -> tuple[LiveTeacher, Bank]:
    teacher, rows = make()
    return LiveTeacher(teacher, rows, batch_size=5), Bank.build(
        tmp_path / "bank", teacher, rows, batch_size=16
    )


def test_it_says_what_the_bank_says(both: tuple[LiveTeacher, Bank]) -> None:
    live, bank = both
    keys = ["t30", "t2", "t2", *(f"t{i}" for i in range(10))]
    mine, theirs = live.lookup(keys), bank.lookup(keys)
    for name in ("features", "logits"):
        assert torch.allclose(getattr(mine, name), getattr(theirs, name), atol=1e-6)
    assert torch.equal(mine.labels, theirs.labels)
    assert torch.equal(mine.head[0], theirs.head[0])
    for name in ("signals", "keys", "class_names", "access", "views"):
        assert getattr(live, name) == getattr(bank, name), name
    assert live.width("features") == bank.width("features") == 7
    assert len(live) == len(bank)
    drawn = [b.sample(4, labels=[0, 1, 2, 0], generator=torch.Generator().manual_seed(0)) for b in both]
    assert torch.allclose(drawn[0].logits, drawn[1].logits, atol=1e-6)
    assert len(live.lookup([]).features) == 0
    assert [len(block) for block in live.blocks(20)] == [20, 20, 8]
    assert torch.allclose(live.prototypes().features, bank.prototypes().features, atol=1e-6)


def test_views_of_it(both: tuple[LiveTeacher, Bank]) -> None:
    live, bank = both
    pairing = Pairing.paired({f"s{i}": f"t{i}" for i in range(48)})
    moved = [shuffled(b, pairing, seed=1).lookup(["t0", "t7"]).logits for b in both]
    assert torch.allclose(moved[0], moved[1], atol=1e-6)
    renamed = live.with_class_names(("cat", "ant", "bee"))
    assert torch.allclose(renamed.lookup(["t3"]).logits, bank.lookup(["t3"]).logits[:, [2, 0, 1]], atol=1e-6)
    again = pickle.loads(pickle.dumps(live))
    assert torch.equal(again.lookup(["t9"]).features, live.lookup(["t9"]).features)
    assert live.verify() == 0
    assert "live teacher" in repr(live)


def test_bad_input(both: tuple[LiveTeacher, Bank]) -> None:
    teacher, rows = make()
    with pytest.raises(MissingKeysError, match="t99"):
        both[0].lookup(["t1", "t99"])
    with pytest.raises(DataError, match="at least one row"):
        LiveTeacher(teacher, rows.subset([]))
    with pytest.raises(ConfigError, match="batch_size of at least 1; it is 0"):
        LiveTeacher(teacher, rows, batch_size=0)
    rows.inputs["x"][7] = float("nan")
    with pytest.raises(NonFiniteError, match="'t7'"):
        LiveTeacher(teacher, rows).lookup(["t6", "t7"])


@pytest.mark.parametrize(
    ("method", "link"), [("kd", "paired"), ("feature_ot", "by_class"), ("bagkd", "bagged")]
)
def test_a_run_with_it_is_a_run_with_the_bank(
    method: str, link: str, both: tuple[LiveTeacher, Bank], tmp_path: Path
) -> None:
    weights = []
    for teacher in both:
        run = toy.trainer(method, tmp_path / type(teacher).__name__, teacher, link=link, double=True)
        run.train()
        weights.append(toy.weights(run))
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
