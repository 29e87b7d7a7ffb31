"""The bilevel scheme: what its first-order gradient is, and what it must leave alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from steps import shapes
from torch import nn
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError
from limbeck.methods.base import InnerPhase, Method, Settings, Weight, weight
from limbeck.problems.classification import Classification, numbered
from limbeck.students.student import Student
from limbeck.training.distiller import Distiller
from limbeck.training.schemes import check_bilevel, fast_weights

X = torch.tensor([[1.0, 2.0], [0.5, -1.0], [-1.5, 0.3]])
Y = torch.tensor([0, 1, 1])
RATE = 0.05


@dataclass
class Config(Settings):
    scheme: str = "bilevel"
    inner_learning_rate: float = RATE
    weight_supervised: Weight = weight(1.0)


class Bilevel(Method):
    """Inside: the squared logits; outside: the cross-entropy."""

    units = {"supervised": "labelled"}
    phases: tuple[InnerPhase, ...] = (InnerPhase("shrink"),)
    Config = Config

    @property
    def inner_phases(self) -> tuple[InnerPhase, ...]:
        return self.phases

    def inner_losses(self, b: Any, phase: str) -> torch.Tensor:
        return b.student.logits.square().mean()

    def losses(self, b: Any) -> dict[str, torch.Tensor]:
        return {"supervised": b.label_loss()}

    def weights(self, progress: float) -> dict[str, float]:
        return {"supervised": 1.0, "shrink": 1.0, "again": 1.0}


def distiller(net: nn.Module, phases: tuple[InnerPhase, ...] = (InnerPhase("shrink"),)) -> Distiller:
    student = Student(net)
    student.probe({"x": X})
    method = Bilevel(Config(), shapes(2, None, 2))
    method.phases = phases
    return Distiller(student, method, problem=Classification(("a", "b")))


def batch() -> dict[str, Any]:
    return {"inputs": {"x": X}, "targets": numbered(Y).tensors()}


def test_gradient_is_that_of_the_outer_loss_at_the_fast_weights() -> None:
    """By hand on a linear model: Adam's first step is the sign of the inner gradient times the rate; the outer
    gradient at the moved weight is (p - y) x."""
    torch.manual_seed(0)
    net = nn.Linear(2, 2, bias=False)
    w = net.weight.detach().clone()
    made = distiller(nn.Sequential(net)).train()
    made(**batch())["loss"].backward()
    inner = 2 * (X @ w.T).T @ X / X.shape[0] / 2  # d mean(z^2) / dw
    fast = w - RATE * inner / (inner.abs() + 1e-8)
    expected = ((X @ fast.T).softmax(1) - F.one_hot(Y, 2)).T @ X
    assert torch.allclose(net.weight.grad, expected, atol=1e-6)
    assert torch.equal(net.weight.detach(), w)


def test_a_phase_may_move_the_head_alone() -> None:
    torch.manual_seed(0)
    student = Student(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)))
    student.probe({"x": X})

    def forward(module: nn.Module, values: Any) -> Any:
        return torch.func.functional_call(module, dict(values), ({"x": X},))

    def loss(out: Any, phase: str) -> torch.Tensor:
        return out.logits.square().mean()

    found = fast_weights(
        student, forward, loss, (InnerPhase("shrink", 2, head_only=True),), learning_rate=RATE
    )
    real = dict(student.named_parameters())
    moved = {name for name, value in found.items() if not torch.equal(value, real[name])}
    assert moved == {"model.2.weight", "model.2.bias"}
    assert all(p.grad is None for p in student.parameters())


def test_phases_follow_each_other_with_one_optimiser() -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 2, bias=False)
    student = Student(nn.Sequential(net))
    student.probe({"x": X})
    w = net.weight.detach().clone().requires_grad_()
    adam = torch.optim.AdamW([w], lr=RATE, weight_decay=0.0)
    for _ in range(3):
        adam.zero_grad()
        (X @ w.T).square().mean().backward()
        adam.step()

    def forward(module: nn.Module, values: Any) -> Any:
        return torch.func.functional_call(module, dict(values), ({"x": X},))

    phases = (InnerPhase("one", 1), InnerPhase("two", 2))
    found = fast_weights(
        student, forward, lambda out, phase: out.logits.square().mean(), phases, learning_rate=RATE
    )
    assert torch.allclose(found["model.0.weight"], w, atol=1e-7)


def test_batchnorm_is_moved_by_the_outer_pass_alone() -> None:
    def net() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    made = distiller(net(), (InnerPhase("shrink", 3), InnerPhase("again", 2))).train()
    made(**batch())
    norm = made.student.model[1]
    assert int(norm.num_batches_tracked) == 1
    values = dict(made.student.named_buffers())
    # what one pass at the same fast weights does
    other = distiller(net(), (InnerPhase("shrink", 3), InnerPhase("again", 2))).train()
    b = other._step_batch({"x": X}, numbered(Y), batch(), 0.0, 0)
    other._bilevel({"x": X}, b)
    assert torch.equal(other.student.model[1].running_mean, norm.running_mean)
    assert float(values["model.1.running_mean"].abs().sum()) > 0


# ---- ucmkd --------------------------------------------------------------------------------------------------


def trained(toy: ModuleType, bank: Bank, folder: Path, **config: Any) -> dict[str, torch.Tensor]:
    run = toy.trainer("ucmkd", folder, bank, config={"scheme": "bilevel", **config}, net=toy.noisy_net)
    run.train()
    return toy.weights(run)


@pytest.mark.full
def test_a_random_teacher_head_changes_nothing_in_the_official_variant(
    toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    other = toy.bank(tmp_path / "bank", head=(torch.randn(3, 7), torch.randn(3)))
    pairs = {}
    for variant in ("official", "paper"):
        a, b = (
            trained(toy, teacher, tmp_path / variant / str(i), variant=variant)
            for i, teacher in enumerate((bank, other))
        )
        pairs[variant] = all(torch.equal(a[name], b[name]) for name in a)
    assert pairs == {"official": True, "paper": False}


@pytest.mark.parametrize(
    ("used", "words"),
    [
        ({"fsdp": True}, "under FSDP:"),
        ({"deepspeed": True}, "under DeepSpeed:"),
        ({"fp16": True}, "under fp16:"),
        ({"fsdp": True, "fp16": True}, "under FSDP and fp16:"),
    ],
)
def test_refusals(used: dict[str, bool], words: str) -> None:
    none = {"fsdp": False, "deepspeed": False, "fp16": False}
    check_bilevel(**none)
    with pytest.raises(ConfigError, match=rf"A bilevel method cannot train {words} .* or scheme='joint'\."):
        check_bilevel(**{**none, **used})


def test_the_trainer_refuses_fp16(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("ucmkd", tmp_path, bank, config={"scheme": "bilevel"})
    run.args.fp16 = True
    with pytest.raises(ConfigError, match="bilevel method cannot train under fp16"):
        type(run)(run.model, run.args, run.collate, method_name="ucmkd")
