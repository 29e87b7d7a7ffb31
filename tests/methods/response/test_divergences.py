from __future__ import annotations

import math

import pytest
import torch
from steps import shapes, step_batch

from limbeck.methods.base import Method, StepBatch
from limbeck.methods.features.fitnets import FitNets, FitNetsConfig
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput


def batch(logits: torch.Tensor, teacher: TeacherOutput, pairs: list[int], labels: list[int]) -> StepBatch:
    return step_batch(StudentOutput(logits, logits), teacher, pairs=pairs, labels=labels)


def kd(temperature: float, n_classes: int) -> Method:
    plan = plan_method("kd", {"temperature": temperature})
    return plan.cls(plan.config, shapes(n_classes, None, n_classes))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_two_classes_by_hand(temperature: float) -> None:
    """T^2 KL(Bernoulli(sigma(a / T)) || Bernoulli(sigma(b / T))) for logit differences a, b; only paired rows count."""
    a, b = 2.0, -0.5
    logits = torch.tensor([[9.0, 9.0], [b, 0.0], [0.0, 1.0]])
    teacher = TeacherOutput(logits=torch.tensor([[a, 0.0]]))
    method = kd(temperature, 2)
    found = method.losses(batch(logits, teacher, [-1, 0, -1], [-100, -100, 1]))
    p, q = (1 / (1 + math.exp(-x / temperature)) for x in (a, b))
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert float(found["distillation"]) == pytest.approx(temperature**2 * divergence, rel=1e-5)
    assert float(found["supervised"]) == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)


def test_log_probs_are_logits() -> None:
    logits, teacher = torch.randn(3, 4), torch.randn(3, 4)
    method = kd(1.0, 4)
    values = [
        float(method.losses(batch(logits, t, [2, 0, 1], [-100] * 3))["distillation"])
        for t in (TeacherOutput(logits=teacher), TeacherOutput(log_probs=teacher.log_softmax(1)))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_gradient_at_high_temperature_is_that_of_logit_matching() -> None:
    """Hinton et al., section 2.1: for T to infinity and centred logits the gradient goes to (z_s - z_t) / N."""
    z_s = torch.tensor([[1.0, -2.0, 1.0]], requires_grad=True)
    z_t = torch.tensor([[0.5, 0.5, -1.0]])
    method = kd(1e3, 3)
    method.losses(batch(z_s, TeacherOutput(logits=z_t), [0], [-100]))["distillation"].backward()
    assert torch.allclose(z_s.grad, (z_s.detach() - z_t) / 3, atol=2e-3)


def test_a_hint_by_hand() -> None:
    """Mean over the width, sum over the pairs."""
    method = FitNets(FitNetsConfig(), shapes(2, 3, 2))
    with torch.no_grad():
        method.regressor.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        method.regressor.bias.zero_()
    features = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = TeacherOutput(features=torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    found = method.losses(batch(features, teacher, [0, 1], [-100, -100]))
    assert found["hint"].item() == pytest.approx((1 + 4 + 9) / 3 + 3 / 3)
