"""Published systems of response distillation: which rows and targets they take."""

from __future__ import annotations

import pytest
import torch
from steps import shapes, step_batch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError
from limbeck.methods.base import Method, StepBatch
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import method_config, plan_method
from limbeck.problems.base import Targets
from limbeck.problems.multilabel import MultiLabel
from limbeck.problems.token_classes import TokenClasses
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Ragged
from limbeck.signals.top_k import TopK
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


def test_wsld_takes_labels_and_where_there_are_none_the_teachers_class():
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    targets = torch.tensor([1, int(z_t[1].argmax()), 3])
    found = made("wsld", temperature=3.0).losses(batch([1, 0, -100, 3]))["distillation"]
    expected = L.weighted_soft_labels(z_s, z_t, targets, temperature=3.0, reduction="sum")
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_ofa_at_the_end_and_at_every_layer():
    plan = plan_method("ofa_kd", {"layers": ["a", "b"], "gamma": 1.3})
    hidden = {"a": torch.randn(4, 6, 2, 2, requires_grad=True), "b": torch.randn(4, 3, 5, requires_grad=True)}
    sizes = Shapes(Side(4, 4, {"a": (6, 2, 2), "b": (3, 5)}), {"teacher": Side(outputs=4)})
    method, z_s, z_t = plan.cls(plan.config, sizes), logits(4, 0), logits(3, 1)
    b = step_batch(
        StudentOutput(z_s, z_s, hidden), TeacherOutput(logits=z_t), pairs=PAIRS, labels=[1, 0, -100, 3]
    )
    b.inputs["attention_mask"] = torch.tensor([[1, 1, 0]] * 4)
    targets = torch.tensor([1, int(z_t[THEIRS[1]].argmax()), 3])

    def match(z):
        return float(L.enhanced_target(z, z_t[THEIRS], targets, gamma=1.3, reduction="sum"))

    found = method.losses(b)
    assert float(found["distillation"]) == pytest.approx(match(z_s[OURS]), rel=1e-5)
    places = method.heads[0](hidden["a"][OURS].flatten(2).mean(2))
    tokens = method.heads[1](hidden["b"][OURS][:, :2].mean(1))
    assert float(found["branches"]) == pytest.approx((match(places) + match(tokens)) / 2, rel=1e-5)
    found["branches"].backward()
    assert hidden["a"].grad[OURS].any()
    assert not hidden["a"].grad[1].any()


def test_c2kd_exchanges_where_the_proxies_agree():
    plan = plan_method("c2kd", {"agreement": 0.2})
    torch.manual_seed(0)
    method = plan.cls(plan.config, shapes(4, 3, 4))
    z_s, z_t, f_t = logits(4, 0).requires_grad_(), logits(3, 1), torch.randn(3, 3)
    b = step_batch(
        StudentOutput(z_s, z_s), TeacherOutput(logits=z_t, features=f_t), pairs=PAIRS, labels=[1, 0, -100, 3]
    )
    targets = torch.tensor([1, int(z_t[THEIRS[1]].argmax()), 3])
    q_s, q_t = method.proxy_student(z_s[OURS]), method.proxy_teacher(f_t[THEIRS])
    agree = L.kendall_tau(q_s, q_t) > 0.2
    assert 0 < int(agree.sum()) < 3
    found = method.losses(b)
    beside = [
        L.non_target_kl(a, c, targets, mask=agree, reduction="sum") for a, c in ((q_s, q_t), (q_t, q_s))
    ]
    own = [L.distillation_kl(a, c, reduction="sum") for a, c in ((z_s[OURS], q_s), (q_s, z_s[OURS]))]
    torch.testing.assert_close(found["own"], own[0] + own[1])
    torch.testing.assert_close(found["exchange"], beside[0])
    torch.testing.assert_close(
        found["teacher"], beside[1] + L.distillation_kl(q_t, z_t[THEIRS], reduction="sum")
    )


def test_streamlined_kd_has_both_parts():
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    found = made("streamlined_kd", ridge=0.5, temperature=2.0).losses(batch([-100] * 4))
    expected = L.distillation_kl(z_s, z_t, temperature=2.0, reduction="sum")
    assert float(found["distillation"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(found["direction"]) == pytest.approx(float(L.direction_gap(z_s, z_t, ridge=0.5)), rel=1e-5)


@pytest.mark.parametrize("match", ["logistic", "hinge", "margin_mse"])
def test_ranking_sums_rows_of_means(match):
    z_s, z_t = logits(4, 0)[OURS], logits(3, 1)[THEIRS]
    if match == "margin_mse":
        first = z_t.argsort(1, descending=True)
        expected = 3 * float(L.margin_mse(z_s.gather(1, first), z_t.gather(1, first)))
    else:
        expected = 3 * float(L.pair_ranking(z_s, z_t.softmax(1), kind=match))  # all rows have as many pairs
    found = made("ranking", match=match).losses(batch([-100] * 4))["ranking"]
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_uld_of_a_bank_of_likeliest_tokens():
    torch.manual_seed(0)
    z_s, said = torch.randn(3, 4, 6), [TopK.of(torch.randn(n, 9), 3) for n in (2, 5)]
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]).bool()
    problem = TokenClasses(tuple("abcdef"))
    b = step_batch(
        StudentOutput(z_s, z_s, mask=mask), TeacherOutput(tokens=Ragged.of(said)), pairs=[1, -1, 0], problem=problem,
        targets=Targets(torch.full((3, 4), -100), torch.zeros(3, dtype=torch.bool)),
    )  # fmt: skip
    found = made("uld").losses(b)["transport"]
    expected = 0.0
    for ours, theirs in ((z_s[0, :3], said[1]), (z_s[2], said[0])):
        n = min(len(ours), len(theirs))
        p = ours[:n].softmax(1).sort(1, descending=True).values
        q = theirs.dense()[:n].exp().sort(1, descending=True).values
        expected += float((torch.cat([p, torch.zeros(n, 3)], 1) - q).abs().sum()) / n
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_presets_differ_by_what_they_fix():
    with pytest.raises(ConfigError, match="'logit_std' is 'divergence' with standardise=True"):
        method_config("logit_std", {"standardise": False})
    assert method_config("taid", {"teacher_share": 0.5}).teacher_share == 0.5
