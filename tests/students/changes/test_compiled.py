"""A student whose blocks run through torch.compile: numbers, names and hooks are those of the plain one."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import toy
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError
from limbeck.students import Student
from limbeck.students.changes.compiled import blocks_compiled

BACKEND = "aot_eager"  # traced and cut as for the default one, without a C++ compiler


def bert(dropout: float = 0.0) -> Student:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, num_labels=3,
    )  # fmt: skip
    student = Student(BertForSequenceClassification(config), head="classifier")
    with torch.no_grad():
        student(texts(4, 6))
    return student


def texts(n: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(20, (n, length), generator=torch.Generator().manual_seed(n))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(toy.WIDTH, toy.WIDTH)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + torch.tanh(self.map(rows))


def net_of_blocks() -> nn.Module:
    return nn.Sequential(nn.Sequential(Block(), Block()), nn.Linear(toy.WIDTH, len(toy.CLASSES)))


@pytest.fixture
def graphs() -> dict[str, int]:
    """How many graphs dynamo has made since."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch._dynamo.utils.counters["stats"]


@pytest.mark.parametrize("hidden", [pytest.param((), marks=pytest.mark.full), ("layer:2", "layer:-1")])
def test_values_and_gradients_are_the_plain_ones(hidden: tuple[str, ...], graphs: dict[str, int]) -> None:
    plain, student = bert().train(), bert().train()
    with blocks_compiled(student, BACKEND):
        for n in (4, 4, 5):
            told, found = (s(texts(n, 6), hidden=hidden) for s in (plain, student))
            torch.testing.assert_close(found.logits, told.logits)
            torch.testing.assert_close(found.features, told.features)
            assert [*found.hidden_states] == [*told.hidden_states]
            for name, state in told.hidden_states.items():
                torch.testing.assert_close(found.hidden_states[name], state)
            for out in (told, found):
                (
                    out.logits.sum() + sum(state.square().sum() for state in out.hidden_states.values())
                ).backward()
    assert (
        1 <= graphs["unique_graphs"] <= 3
    )  # one kind of block for all three, and one for a changing number of rows
    for (name, value), other in zip(student.named_parameters(), plain.parameters(), strict=True):
        assert "_orig_mod" not in name
        if other.grad is not None:
            torch.testing.assert_close(value.grad, other.grad)


def test_no_hook_cuts_a_block_or_has_it_made_anew(graphs: dict[str, int]) -> None:
    """Dropouts are watched for in every forward of a training; inside a block that would be a graph a step."""
    student = bert(dropout=0.5).train()
    with blocks_compiled(student, BACKEND):
        for _ in range(4):
            out = student(texts(4, 6))
            assert not torch.equal(out.features, student(texts(4, 6)).features)  # dropout draws anew
    assert graphs["unique_graphs"] == 1


def test_afterwards_it_is_as_before(graphs: dict[str, int]) -> None:
    student = bert().eval()
    before = student(texts(4, 6)).logits
    with blocks_compiled(student, BACKEND):
        twin = copy.deepcopy(student)
        with torch.no_grad():
            twin.model.bert.encoder.layer[0].output.dense.weight.zero_()
        assert not torch.allclose(twin(texts(4, 6)).logits, before)  # a copy runs with its own weights
        torch.testing.assert_close(student(texts(4, 6)).logits, before)
        with pytest.raises(
            ConfigError, match=r"lies inside a compiled block.*leave out training.compile_student"
        ):
            student(texts(4, 6), hidden=("bert.encoder.layer.1.attention",))
    made = graphs["unique_graphs"]
    assert torch.equal(student(texts(4, 6)).logits, before)
    assert student(texts(4, 6), hidden=("bert.encoder.layer.1.attention",)).hidden_states
    assert graphs["unique_graphs"] == made
    assert not any("forward" in part.__dict__ for part in student.modules())


def test_what_cannot_be_compiled_is_told() -> None:
    student = Student(nn.Sequential(nn.Linear(4, 3)), head="0")
    with (
        pytest.raises(ConfigError, match=r"Sequential has no blocks that could be compiled.*leave out"),
        blocks_compiled(student),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=r"no backend 'inducter'; there are .*inductor"),
        blocks_compiled(bert(), "inducter"),
    ):
        pass


@pytest.mark.full
def test_a_run(bank: Bank, tmp_path: Path, graphs: dict[str, int]) -> None:
    """The setting, its checkpoint and the student that is left are those of a plain run, up to rounding."""
    weights = []
    for name, how in (("plain", False), ("compiled", BACKEND)):
        saving = {"save_strategy": "steps", "save_steps": 4}
        run = toy.trainer(
            "kd", tmp_path / name, bank, net=net_of_blocks, max_steps=4, compile_student=how, **saving
        )
        run.train()
        weights.append(toy.weights(run))
        assert list((tmp_path / name).rglob("checkpoint-4"))
    assert graphs["unique_graphs"] >= 1
    assert list(weights[0]) == list(weights[1])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, msg=lambda text, name=name: f"{name}: {text}")
