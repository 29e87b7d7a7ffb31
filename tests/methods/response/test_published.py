"""Published systems of response distillation: which rows and targets they take."""

from __future__ import annotations

import pytest
import torch
from steps import shapes, step_batch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError
from limbeck.methods.base import Method, StepBatch
from limbeck.methods.registry import method_config, plan_method
from limbeck.problems.base import Targets
from limbeck.problems.multilabel import MultiLabel
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

PAIRS = [2, -1, 0, 1]
OURS, THEIRS = [0, 2, 3], [2, 0, 1]


def logits(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def made(name: str, **config: object) -> Method:
    plan = plan_method(name, config)
    return plan.cls(plan.config, shapes(4, None, 4))


def batch(labels: list[int], progress: float = 0.0, scale: float = 1.0) -> StepBatch:
    z = scale * logits(4, 0)
    teacher = TeacherOutput(logits=logits(3, 1))
    return step_batch(StudentOutput(z, z), teacher, pairs=PAIRS, labels=labels, progress=progress)


def test_dkd_takes_labels_and_where_there_are_none_the_teachers_class():
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    targets = torch.tensor([1, int(z_t[1].argmax()), 3])
    found = made("dkd", beta=2.0).losses(batch([1, 0, -100, 3]))["distillation"]
    expected = L.decoupled_kl(z_s, z_t, targets, weight_rest=2.0, reduction="sum")
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_dist_by_row_and_by_class():
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    found = made("dist", temperature=2.0).losses(batch([-100] * 4))
    inter = L.prediction_correlation(z_s, z_t, temperature=2.0, reduction="sum")
    intra = L.prediction_correlation(z_s, z_t, over="rows", temperature=2.0)
    assert float(found["inter"]) == pytest.approx(float(inter), rel=1e-5)
    assert float(found["intra"]) == pytest.approx(float(intra), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_binary_kd_is_a_binary_cross_entropy_less_its_least(temperature):
    z_s, z_t = logits(4, 0), logits(3, 1)
    problem = MultiLabel(("a", "b", "c", "d"))
    b = step_batch(
        StudentOutput(z_s, z_s), TeacherOutput(logits=z_t), pairs=PAIRS, problem=problem,
        targets=Targets(torch.zeros(4, 4), torch.zeros(4, dtype=torch.bool)),
    )  # fmt: skip
    found = made("binary_kd", temperature=temperature).losses(b)["distillation"]
    p, z = (z_t[THEIRS] / temperature).sigmoid(), z_s[OURS] / temperature
    least = F.binary_cross_entropy(p, p, reduction="sum")
    expected = F.binary_cross_entropy_with_logits(z, p, reduction="sum") - least
    assert float(found) == pytest.approx(temperature**2 * float(expected), rel=1e-4)


def test_logit_std_is_blind_to_how_sure_the_student_is():
    values = [
        float(made("logit_std").losses(batch([-100] * 4, scale=s))["distillation"]) for s in (1.0, 30.0)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert float(made("kd").losses(batch([-100] * 4, scale=30.0))["distillation"]) > 2 * values[0]


def test_taid_goes_from_a_share_of_the_teacher_to_all_of_it():
    method, labels = made("taid"), [-100] * 4
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    for progress, share in ((0.0, 0.4), (0.5, 0.7), (1.0, 1.0)):
        target = L.interpolated_logits(z_s, z_t, share)
        found = float(method.losses(batch(labels, progress))["distillation"])
        assert found == pytest.approx(float(L.divergence(z_s, target, reduction="sum")), rel=1e-4)
    end = float(made("kd", temperature=1.0).losses(batch(labels))["distillation"])
    assert found == pytest.approx(end, rel=1e-5)


def test_logit_mse_compares_logits():
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    found = made("logit_mse").losses(batch([-100] * 4))["distillation"]
    assert float(found) == pytest.approx(float((z_s - z_t).square().sum()) / 4, rel=1e-5)


def test_presets_differ_by_what_they_fix():
    with pytest.raises(ConfigError, match="'logit_std' is 'divergence' with standardise=True"):
        method_config("logit_std", {"standardise": False})
    assert method_config("taid", {"teacher_share": 0.5}).teacher_share == 0.5
