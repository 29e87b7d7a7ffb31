"""UCMKD: Algorithm 1 as printed, by hand; the arms of Table 6; the authors' code; and what lambda does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from steps import shapes, step_batch
from torch import Tensor
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError
from limbeck.functional import transport_cost
from limbeck.methods.registry import method_config, plan_method
from limbeck.problems.classification import Classification
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput
from limbeck.training import distiller as distiller_file
from limbeck.training.descents import FastWeights

RATE = 0.05
PLAIN = {
    "link": "by_class", "max_steps": 1, "optim": "sgd", "learning_rate": RATE, "lr_scheduler_type": "constant",
    "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 0.0,
}  # fmt: skip
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def same_width(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """A teacher as wide as the student, so that no map stands between them."""
    return toy.bank(tmp_path_factory.mktemp("ucmkd") / "bank", width=8)


# ---- Algorithm 1, by hand -----------------------------------------------------------------------------------


def net(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of ``toy.plain_net``."""
    features = torch.tanh(x @ w["0.weight"].T + w["0.bias"])
    return features, features @ w["2.weight"].T + w["2.bias"]


def negative_log(logits: Tensor, y: Tensor) -> Tensor:
    return torch.logsumexp(logits, 1) - logits[torch.arange(len(y)), y]


def moved(w: Weights, loss: Any, names: list[str], rate: float) -> Weights:
    """One plain step on some of the weights."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in w.items()}
    gradients = torch.autograd.grad(loss(leaves), [leaves[name] for name in names])
    return w | {name: w[name] - rate * g for name, g in zip(names, gradients)}


def algorithm_1(
    w: Weights,
    batch: tuple[Tensor, ...],
    head: tuple[Tensor, Tensor],
    lambdas: tuple[float, float],
    steps: Any,
) -> Weights:
    """One whole step: FA on the encoder, LA on encoder and head, the outer gradient at the copies."""
    x, y, x_t = batch
    weight_t, bias_t = head

    def feature(v: Weights) -> Tensor:
        return transport_cost(net(v, x)[0], x_t, cost="euclidean", reg=0.1)

    def label(v: Weights) -> Tensor:
        features, logits = net(v, x)
        of_teacher = features @ weight_t.T + bias_t
        kappa = torch.softmax(of_teacher, 1)[torch.arange(len(y)), y].detach()
        return (negative_log(logits, y) - kappa * negative_log(of_teacher, y)).mean()

    fast = dict(w)
    for _ in range(steps[0]):
        fast = moved(fast, feature, ["0.weight", "0.bias"], RATE * lambdas[0])
    for _ in range(steps[1]):
        fast = moved(fast, label, list(w), RATE * lambdas[1])
    outer = moved(fast, lambda v: negative_log(net(v, x)[1], y).mean(), list(w), RATE)
    return {name: w[name] + outer[name] - fast[name] for name in w}


@pytest.mark.parametrize(
    ("method", "lambdas", "steps"),
    [
        ("ucmkd_paper", (1.0, 1.0), (1, 1)),
        ("ucmkd_paper", (0.4, 0.7), (3, 2)),
        ("ucmkd_paper_fa", (0.6, 0.0), (2, 0)),
        ("ucmkd_paper_la", (0.0, 0.8), (0, 2)),
    ],
)
def test_one_step_is_algorithm_1(
    method: str,
    lambdas: tuple[float, float],
    steps: tuple[int, int],
    toy: ModuleType,
    same_width: Bank,
    tmp_path: Path,
) -> None:
    config: dict[str, Any] = {}
    for at, (name, phase) in enumerate(
        (("weight_feature", "feature_steps"), ("weight_label", "label_steps"))
    ):
        if lambdas[at]:
            config |= {name: lambdas[at], phase: steps[at]}
    run = toy.trainer(method, tmp_path, same_width, config=config, double=True, **PLAIN)
    before = {n.removeprefix("student.model."): v for n, v in toy.weights(run).items() if "model." in n}
    batch = next(iter(run.get_train_dataloader()))
    said = batch["teachers"]["teacher"]["said"]
    rows = (batch["inputs"]["x"], batch["targets"]["values"], said["features"].double())
    weight, bias = said["head"]
    head = (weight.double(), torch.zeros(len(weight)).double() if bias is None else bias.double())
    expected = algorithm_1(before, rows, head, lambdas, steps)
    run.train()
    found = toy.weights(run)
    for name, value in expected.items():
        torch.testing.assert_close(found[f"student.model.{name}"], value, rtol=0, atol=1e-10)
        assert not torch.equal(value, before[name])


def displacement(
    monkeypatch: pytest.MonkeyPatch, toy: ModuleType, bank: Bank, folder: Path, method: str, **config: float
) -> Tensor:
    """How far the fast weights lie from the real ones in the outer loss, all in one vector."""
    made: list[FastWeights] = []

    class Recorded(FastWeights):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(distiller_file, "FastWeights", Recorded)
    run = toy.trainer(method, folder, bank, config=config, double=True, **PLAIN)
    before = toy.weights(run)
    run.train()
    return torch.cat(
        [(value.detach() - before[f"student.{n}"]).flatten() for n, value in made[0].values.items()]
    )


@pytest.mark.parametrize(
    ("method", "weight"), [("ucmkd_paper_fa", "weight_feature"), ("ucmkd_paper_la", "weight_label")]
)
def test_half_a_lambda_moves_half_as_far(
    method: str,
    weight: str,
    monkeypatch: pytest.MonkeyPatch,
    toy: ModuleType,
    same_width: Bank,
    tmp_path: Path,
) -> None:
    whole, half = (
        displacement(monkeypatch, toy, same_width, tmp_path / str(value), method, **{weight: value})
        for value in (1.0, 0.5)
    )
    assert float(whole.abs().max()) > 1e-6
    torch.testing.assert_close(half, whole / 2, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("method", ["ucmkd_paper", "ucmkd_official", "ucmkd"])
def test_lambda_0_removes_a_phase_exactly(
    method: str, toy: ModuleType, same_width: Bank, tmp_path: Path
) -> None:
    """With both at 0 the student is the one without a teacher to the bit, dropout and all."""
    smoothing = plan_method(method, {"scheme": "bilevel"} if method == "ucmkd" else {}).config.smoothing
    none: dict[str, Any] = {"weight_feature": 0.0, "weight_label": 0.0, "scheme": "bilevel"}
    common = {"net": toy.noisy_net, "link": "by_class", "max_steps": 4}
    run = toy.trainer(method, tmp_path / "ucmkd", same_width, config=none, **common)
    run.train()
    alone = toy.trainer(
        "supervised", tmp_path / "alone", None, config={"label_smoothing": smoothing}, **common
    )
    alone.train()
    found = toy.weights(run)
    for name, value in toy.weights(alone).items():
        assert torch.equal(found[name], value), name


# ---- variants -----------------------------------------------------------------------------------------------


def test_what_each_variant_decides() -> None:
    ours, joint = method_config("ucmkd", {"scheme": "bilevel"}), method_config("ucmkd")
    paper, official = method_config("ucmkd_paper"), method_config("ucmkd_official")
    assert [c.transport.cost for c in (ours, paper, official)] == ["cosine", "euclidean", "cosine"]
    assert [c.smoothing for c in (joint, ours, paper, official)] == [0.0, 0.1, 0.0, 0.1]
    assert not joint.is_bilevel
    assert method_config("ucmkd", {"variant": "paper"}).is_bilevel
    inner = [[c.descent(name) for name in ("feature", "label")] for c in (ours, paper, official)]
    assert [[d.moves for d in pair] for pair in inner] == [["student"] * 2] * 2 + [["student", "head"]]
    assert [(d.optimizer, d.learning_rate, d.weight_decay) for d, _ in inner] == [
        ("adamw", 1e-3, 0.0),
        ("sgd", "outer", 0.0),
        ("adamw", 5e-5, 0.05),
    ]


def test_settings_that_were_given_go_before_the_variant() -> None:
    found = method_config(
        "ucmkd_paper",
        {
            "cost": "angular",
            "label_smoothing": 0.2,
            "inner_steps": 2,
            "label_steps": 3,
            "inner_learning_rate": 0.5,
        },
    )
    assert (found.transport.cost, found.smoothing) == ("angular", 0.2)
    assert [found.descent(n).steps for n in ("feature", "label")] == [2, 3]
    assert found.descent("label").learning_rate == 0.5


def test_the_arms_of_table_6_are_what_they_are() -> None:
    assert method_config("ucmkd_paper_joint").transport.cost == "euclidean"
    assert not plan_method("ucmkd_paper_joint").declared.descents
    with pytest.raises(
        ConfigError, match=r"'ucmkd_paper_fa' is 'ucmkd' with weight_label=0\.0; take 'ucmkd'"
    ):
        method_config("ucmkd_paper_fa", {"weight_label": 1.0})


@pytest.mark.parametrize("cost", ["l1", "angular"])
def test_the_other_costs_of_table_7_train(cost: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("ucmkd_paper", tmp_path, bank, link="by_class", config={"cost": cost}, max_steps=3)
    before = toy.weights(run)
    run.train()
    after = toy.weights(run)
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    assert not torch.equal(after["student.model.0.weight"], before["student.model.0.weight"])


@pytest.mark.parametrize("width", [7, 8])
def test_where_widths_differ_the_official_label_alignment_is_cross_entropy(
    width: int, toy: ModuleType, tmp_path: Path
) -> None:
    teacher = toy.bank(tmp_path / "bank", width=width)
    run = toy.trainer("ucmkd_official", tmp_path, teacher, max_steps=1, link="by_class")
    batch = next(iter(run.get_train_dataloader()))
    made = run.model.train()
    out = made(**{k: v for k, v in batch.items() if k not in ("keys", "counts")})
    smoothed = F.cross_entropy(
        made.student(batch["inputs"]).logits, batch["targets"]["values"], label_smoothing=0.1
    )
    # The label phase sees the student after a step of 5e-5.
    is_plain = abs(float(out["terms"]["label"] - smoothed)) < 1e-2
    assert is_plain == (width == 7)


# ---- the printed cost in float32 ----------------------------------------------------------------------------


def rectified(scale: float) -> tuple[Tensor, Tensor]:
    """Two clouds of 64 rows of 512 rectified features, as a ResNet-18 gives them, float32."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(64, 512, generator=generator).relu() * scale for _ in range(2))
    return x, y


@pytest.mark.parametrize("distance", [5.6, 9.3, 18.0])
def test_l2_on_512_rectified_features_is_finite_and_right(distance: float) -> None:
    """With the paper's l2 cost and epsilon 0.1, ``exp(-cost / epsilon)`` is below what float32 holds: scaling as
    POT's ``sinkhorn2`` does it gives NaN gradients at a mean distance of 5.6, and 0 with gradient 0 beyond 9."""
    x, y = rectified(1.0)
    x, y = (side * (distance / float(torch.cdist(x, y).mean())) for side in (x, y))
    found, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype, copy=True).requires_grad_()
        value = transport_cost(leaf, y.to(dtype), cost="euclidean", reg=0.1)
        value.backward()
        found.append(float(value.detach()))
        assert leaf.grad is not None
        gradients.append(leaf.grad.double())
    assert 0.9 * distance < found[0] < distance
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert float((gradients[0] - gradients[1]).norm()) < 1e-2 * float(gradients[1].norm())
    assert float(gradients[1].norm()) > 1e-3


def test_plain_scaling_in_float32_fails_there() -> None:
    """What the test above guards against happens: else it would prove nothing."""
    ot = pytest.importorskip("ot", reason="POT is not installed; it is only compared with")
    x, y = rectified(1.0)
    factor = 9.3 / float(torch.cdist(x, y).mean())
    leaf = (x * factor).requires_grad_()
    weights = torch.full((64,), 1 / 64)
    with pytest.warns(UserWarning, match="Sinkhorn|numerical"):
        value = ot.sinkhorn2(weights, weights, torch.cdist(leaf, y * factor), reg=0.1, numItermax=100)
    value.sum().backward()
    assert leaf.grad is not None
    assert not bool(torch.isfinite(value).all()) or float(value.detach().sum()) < 1.0
    assert not float(leaf.grad.norm()) > 1e-30  # 0, next to nothing, or NaN


def test_class_weights_count_in_the_label_alignment() -> None:
    """A row of a class of weight 2 counts as two rows of weight 1."""
    plan = plan_method("ucmkd")
    draw = torch.Generator().manual_seed(0)
    logits, features = torch.randn(3, 3, generator=draw), torch.randn(3, 4, generator=draw)
    head = (torch.randn(3, 4, generator=draw), None)
    method = plan.cls(plan.config, shapes(4, 4, 3))

    def label(rows: list[int], weights: tuple[float, ...] | None) -> Tensor:
        out = StudentOutput(features[rows], logits[rows], head=head)
        labels = [[0, 1, 2][row] for row in rows]
        problem = Classification(("a", "b", "c"), class_weights=weights)
        said = TeacherOutput(features=torch.ones(2, 4), head=head)
        b = step_batch(out, said, labels=labels, problem=problem)
        return method.losses(b)["label"]

    torch.testing.assert_close(label([0, 1, 2], (1.0, 2.0, 0.0)), label([0, 1, 1], None))
    assert float(label([0, 1, 2], None)) != float(label([0, 1, 2], (1.0, 2.0, 0.0)))
