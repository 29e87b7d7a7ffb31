"""Descents before the student's step: what moves, what stays, and that a run can be cut anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from launching import launch
from safetensors.torch import load_file
from steps import shapes
from torch import nn
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError
from limbeck.methods.base import Declared, Descent, Method, Settings, Weight, weight
from limbeck.methods.registry import METHODS
from limbeck.problems.classification import Classification, numbered
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student
from limbeck.training.descents import FastWeights, check_descents
from limbeck.training.distiller import Distiller

X = torch.tensor([[1.0, 2.0], [0.5, -1.0], [-1.5, 0.3]])
Y = torch.tensor([0, 1, 1])
RATE = 0.05
SHRINK = Descent("shrink", learning_rate=RATE)


@dataclass
class Config(Settings):
    weight_supervised: Weight = weight(1.0)


class Bilevel(Method):
    """Inside: the squared logits; outside: the cross-entropy."""

    units = {"supervised": "labelled"}
    descents: tuple[Descent, ...] = (SHRINK,)
    Config = Config

    @classmethod
    def declared(cls, config: Config) -> Declared:
        return super().declared(config).with_(descents=cls.descents)

    def descent_loss(self, b: Any, name: str) -> torch.Tensor:
        return b.student.logits.square().mean()

    def losses(self, b: Any) -> dict[str, torch.Tensor]:
        return {"supervised": b.label_loss()}


def distiller(net: nn.Module, *descents: Descent) -> Distiller:
    student = Student(net)
    student.probe({"x": X})
    kind = type("Bilevel", (Bilevel,), {"descents": descents or (SHRINK,)})
    method = kind(Config(), shapes(2, None, 2))
    return Distiller(student, method, problem=Classification(("a", "b")))


def batch() -> dict[str, Any]:
    return {"inputs": {"x": X}, "targets": numbered(Y).tensors()}


def fast(
    student: Student, *descents: Descent, rate: float = 0.0
) -> tuple[dict[str, torch.Tensor], list[int]]:
    """The fast weights, and the forwards that they took."""
    ran: list[int] = []

    def run(values: Any) -> StudentOutput:
        ran.append(1)
        return torch.func.functional_call(student, dict(values), ({"x": X},))

    copies = FastWeights(student, run, lambda out, name: out.logits.square().mean(), rate=rate)
    copies.descend(descents)
    return copies.values, ran


def deep_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))


def known(net: nn.Module) -> Student:
    student = Student(net)
    student.probe({"x": X})
    return student


def test_gradient_is_that_of_the_outer_loss_at_the_fast_weights() -> None:
    """By hand on a linear model: Adam's first step is the sign of the inner gradient times the rate; the outer
    gradient at the moved weight is (p - y) x."""
    torch.manual_seed(0)
    net = nn.Linear(2, 2, bias=False)
    w = net.weight.detach().clone()
    made = distiller(nn.Sequential(net)).train()
    made(**batch())["loss"].backward()
    inner = 2 * (X @ w.T).T @ X / X.shape[0] / 2  # d mean(z^2) / dw
    moved = w - RATE * inner / (inner.abs() + 1e-8)
    expected = ((X @ moved.T).softmax(1) - F.one_hot(Y, 2)).T @ X
    assert torch.allclose(net.weight.grad, expected, atol=1e-6)
    assert torch.equal(net.weight.detach(), w)


def test_sgd_tied_to_the_outer_rate_with_decay_by_hand() -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 2, bias=False)
    w = net.weight.detach().clone()
    descent = Descent("shrink", steps=2, optimizer="sgd", learning_rate="outer", weight_decay=0.5)
    found, _ = fast(known(nn.Sequential(net)), descent, rate=0.1)
    for _ in range(2):
        w = w * (1 - 0.1 * 0.5) - 0.1 * (2 * (X @ w.T).T @ X / X.shape[0] / 2)
    assert torch.allclose(found["model.0.weight"], w, atol=1e-6)


def test_a_descent_may_move_the_head_alone_and_shares_one_forward_with_the_outer_loss() -> None:
    student = known(deep_net()).train()
    found, ran = fast(student, Descent("shrink", moves="head", steps=3, learning_rate=RATE))
    real = dict(student.named_parameters())
    moved = {name for name, value in found.items() if not torch.equal(value, real[name])}
    assert moved == {"model.3.weight", "model.3.bias"}
    assert len(ran) == 1
    assert int(student.model[1].num_batches_tracked) == 1
    assert all(p.grad is None for p in student.parameters())


def test_where_something_follows_the_head_it_descends_by_whole_forwards_to_the_same() -> None:
    class Scaled(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 1.0

    descent = Descent("shrink", moves="head", steps=3, learning_rate=RATE)
    torch.manual_seed(0)
    plain, scaled = known(deep_net()).train(), known(Scaled(*deep_net())).train()
    one, other = fast(plain, descent), fast(scaled, descent)
    assert (len(one[1]), len(other[1])) == (1, 5)
    for name, value in one[0].items():
        torch.testing.assert_close(value, other[0][name])
    torch.testing.assert_close(plain.model[1].running_mean, scaled.model[1].running_mean)


def test_descents_follow_each_other_with_one_set_of_moments() -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 2, bias=False)
    w = net.weight.detach().clone().requires_grad_()
    adam = torch.optim.AdamW([w], lr=RATE, weight_decay=0.0)
    for _ in range(3):
        adam.zero_grad()
        (X @ w.T).square().mean().backward()
        adam.step()
    one, two = Descent("one", learning_rate=RATE), Descent("two", steps=2, learning_rate=RATE)
    found, _ = fast(known(nn.Sequential(net)), one, two)
    assert torch.allclose(found["model.0.weight"], w, atol=1e-7)


def test_batchnorm_is_moved_by_the_outer_pass_alone() -> None:
    made = distiller(deep_net(), Descent("shrink", steps=3), Descent("again", steps=2)).train()
    made(**batch())
    assert int(made.student.model[1].num_batches_tracked) == 1


def test_the_losses_run_other_inputs_at_the_fast_weights() -> None:
    made = distiller(deep_net())
    seen: list[torch.Tensor] = []

    def losses(b: Any) -> dict[str, torch.Tensor]:
        seen.extend([b.student.logits, b.run(b.inputs).logits])
        return {"supervised": b.label_loss()}

    made.method.losses = losses  # type: ignore[method-assign]
    made.train()(**batch())
    torch.testing.assert_close(seen[0], seen[1])
    assert not torch.allclose(seen[0], made.student(batch()["inputs"]).logits)


# ---- a critic -----------------------------------------------------------------------------------------------


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(METHODS, "imagined", "examples.critics:Imagined")
    return "imagined"


def test_a_critic_learns_beside_the_student(
    imagined: str, toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    run = toy.trainer(imagined, tmp_path, bank, link="paired")
    before = toy.weights(run)
    run.train()
    moved = {name for name, value in toy.weights(run).items() if not torch.equal(value, before[name])}
    assert {"method.critic.0.weight", "method.generator.weight", "moments.critic.first_0"} <= moved
    assert any(name.startswith("student.") for name in moved)
    assert float(run.model.moments["critic"].count_0) == 3 * 20
    assert not any(p.requires_grad for p in run.model.method.critic.parameters())
    trained = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in run.model.method.critic.parameters()}
    assert "term/critic" in next(entry for entry in run.state.log_history if "loss" in entry)


def test_a_critic_resumes_bit_for_bit(imagined: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    def made() -> Any:
        return toy.trainer(
            imagined, tmp_path, bank, link="paired", net=toy.noisy_net, save_strategy="steps", save_steps=7
        )

    whole, resumed = made(), made()
    whole.train()
    torch.rand(100)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-7"))
    weights = toy.weights(resumed)
    assert all(torch.equal(value, weights[name]) for name, value in toy.weights(whole).items())


@pytest.mark.slow
def test_ranks_agree_on_the_critic(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    cases = [
        {"method": "imagined", "link": "paired", "config": {}, "arguments": {}},
        {"method": "ucmkd", "link": "by_class", "config": {"scheme": "bilevel"}, "arguments": {}},
    ]
    launch(tmp_path, cases)
    for number in range(len(cases)):
        one, other = (load_file(tmp_path / f"{number}-{rank}.safetensors") for rank in range(2))
        assert all(torch.equal(value, other[name]) for name, value in one.items())


# ---- what is refused ----------------------------------------------------------------------------------------


def test_settings_out_of_range() -> None:
    for wrong in ({"steps": 0}, {"optimizer": "lion"}, {"weight_decay": -1.0}):
        with pytest.raises(ConfigError, match="The descent 'x' needs at least 1 step"):
            Descent("x", **wrong)
    for rate in (0.0, -1.0, "inner"):
        with pytest.raises(ConfigError, match="The learning rate of the descent 'x' is above 0, or 'outer'"):
            Descent("x", learning_rate=rate)  # type: ignore[arg-type]


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match="The descent 'shrink' of Bilevel moves 'critic', which is no module"
    ):
        distiller(deep_net(), Descent("shrink", moves="critic"))


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
    method = distiller(deep_net()).method
    none = {"fsdp": False, "deepspeed": False, "fp16": False}
    check_descents(method, accumulation=2, **none)
    with pytest.raises(ConfigError, match=rf"A method that descends \(shrink\) cannot train {words}"):
        check_descents(method, accumulation=1, **{**none, **used})


def test_kept_descents_with_accumulation(imagined: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"moves 'critic' once in a step, and .*accumulation_steps=2"):
        toy.trainer(imagined, tmp_path, bank, link="paired", gradient_accumulation_steps=2)


def test_the_trainer_refuses_fp16(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("ucmkd", tmp_path, bank, config={"scheme": "bilevel"})
    run.args.fp16 = True
    with pytest.raises(ConfigError, match="cannot train under fp16"):
        type(run)(run.model, run.args, run.collate, method_name="ucmkd")


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
