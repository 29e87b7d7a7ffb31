"""Rows of different lengths and likeliest classes on their way from a bank into a method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.errors import MissingSignalError
from limbeck.methods.base import Method, Settings, Weight, weight
from limbeck.signals import Ragged, TopK
from limbeck.training.collator import teacher_rows
from limbeck.training.teacher_reading import check_signals


@dataclass
class TokensConfig(Settings):
    weight_tokens: Weight = weight(1.0)


class Tokens(Method):
    """The student's prediction is drawn to what the teacher holds likely at each shown token."""

    needs = {"tokens"}
    links = {"paired"}
    units = {"tokens": "pair"}
    Config = TokensConfig

    def losses(self, b: Any) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs, shown = said["tokens"].padded()
        ours = b.student.logits[rows].log_softmax(-1).unsqueeze(1)
        gap = F.kl_div(ours, theirs.dense(), log_target=True, reduction="none").sum(-1)
        return {"tokens": (gap * shown).sum()}


@pytest.fixture
def bank(toy: ModuleType, tmp_path: Path) -> Bank:
    """Row i has i % 4 tokens, whose likeliest class is the row's own."""
    lengths = torch.arange(toy.N) % 4
    classes = torch.repeat_interleave(torch.arange(toy.N) % 3, lengths)
    said = TopK.of(4 * torch.eye(3)[classes], 2)
    states = Ragged(torch.arange(float(lengths.sum())).unsqueeze(1), lengths)
    return toy.bank(tmp_path / "bank", tokens=Ragged(said, lengths), hidden_states={"last": states})


def test_a_batch_holds_the_rows_of_the_bank(toy: ModuleType, bank: Bank) -> None:
    from limbeck.signals.links import Draw

    collate = toy.collator("paired", bank)
    batch = collate([Draw("unlabelled", row, 0, slot) for slot, row in enumerate((15, 12, 18, 14))])
    rows, said = teacher_rows(batch)["teacher"].paired()
    assert rows.tolist() == [0, 1, 2, 3]
    stored = bank.lookup([f"t{row}" for row in (15, 12, 18, 14)])
    assert said["tokens"].lengths.tolist() == [3, 0, 2, 2]
    assert torch.equal(said["tokens"].values.ids, stored.tokens.values.ids)
    assert torch.equal(said.hidden_states["last"].values, stored.hidden_states["last"].values)
    assert all(torch.is_tensor(leaf) or isinstance(leaf, (int, str)) for leaf in leaves(batch)), (
        "can be moved"
    )


def leaves(batch: Any) -> list[Any]:
    if isinstance(batch, dict):
        return [leaf for value in batch.values() for leaf in leaves(value)]
    if isinstance(batch, (list, tuple)):
        return [leaf for value in batch for leaf in leaves(value)]
    return [] if batch is None else [batch]


def test_a_method_learns_from_tokens_however_the_batch_is_cut(
    toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    weights, losses = [], []
    for parts in (1, 4):
        run = toy.trainer(
            "kd",
            tmp_path / str(parts),
            bank,
            gradient_accumulation_steps=parts,
            optim="sgd",
            learning_rate=0.1,
        )
        run.model.method = run.terms.method = Tokens(TokensConfig(), run.model.method.shapes)
        run.train()
        weights.append(toy.weights(run))
        losses.append([entry["loss"] for entry in run.state.log_history if "loss" in entry])
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-5, atol=1e-6)


def test_a_bank_without_tokens_is_refused_before_training() -> None:
    with pytest.raises(
        MissingSignalError, match=r"needs the teacher's 'tokens'.* access level 'logits' gives it"
    ):
        check_signals("sorted", {"tokens"}, {"features"}, "features")


def test_kd_reads_the_likeliest_classes(toy: ModuleType, tmp_path: Path) -> None:
    """A bank of all classes and one of the likeliest of them teach the same where nothing is cut away."""
    weights = []
    for k in (None, 3):
        logits = 3 * torch.eye(3)[torch.arange(toy.N) % 3]
        log_probs = logits.log_softmax(1) if k is None else TopK.of(logits, k)
        bank = toy.bank(tmp_path / f"bank {k}", logits=None, log_probs=log_probs)
        run = toy.trainer("kd", tmp_path / str(k), bank)
        run.train()
        weights.append(toy.weights(run))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-5, atol=1e-6)
