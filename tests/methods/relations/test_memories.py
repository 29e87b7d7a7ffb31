"""Methods with a memory: what enters it, what it adds, and that a checkpoint goes on where it was."""

from __future__ import annotations

import pytest
import torch
from steps import shapes, step_batch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.methods.base import Method
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

N = 4


def made(name: str, **config: object) -> Method:
    torch.manual_seed(0)
    plan = plan_method(name, config)
    return plan.cls(plan.config, shapes(3, 5, 2))


def batch(seed: int, theirs: torch.Tensor | None = None):
    generator = torch.Generator().manual_seed(seed)
    ours = torch.randn(N, 3, generator=generator).requires_grad_()
    theirs = torch.randn(N, 5, generator=generator) if theirs is None else theirs
    student = StudentOutput(logits=ours[:, :2], features=ours)
    return step_batch(student, TeacherOutput(features=theirs), pairs=range(N)), ours, theirs


def test_crd_by_its_formula_over_two_steps():
    method = made("crd", width=4, queue=6, temperature=0.5)
    embedded, means = [], None
    for seed in (0, 1):
        b, ours, theirs = batch(seed)
        v_s, v_t = F.normalize(method.student(ours), dim=1), F.normalize(method.teacher(theirs), dim=1)
        apart = ~torch.eye(N, dtype=torch.bool)
        means = means or [float((a @ c.T / 0.5).exp().mean()) for a, c in ((v_s, v_t), (v_t, v_s))]
        expected = 0.0
        for i, (a, c) in enumerate(((v_s, v_t), (v_t, v_s))):
            earlier = [pair[1 - i] for pair in embedded]
            memory = torch.cat([c, *earlier]).detach()
            n = len(memory)
            q = (a @ memory.T / 0.5).exp() / (means[i] * (n + 1))
            share = n / (n + 1)
            own = q[:, :N].diagonal()
            shown = torch.cat([apart, torch.ones(N, n - N, dtype=torch.bool)], 1)
            others = (share / (q + share + 1e-7)).log()[shown].sum()
            expected = expected - ((own / (own + share + 1e-7)).log().sum() + others) / N
        found = method.losses(b)["contrast"]
        assert float(found) == pytest.approx(float(expected), rel=1e-4)
        embedded.append((v_s.detach(), v_t.detach()))
    assert len(method.memory) == 6


def test_crd_keeps_what_the_first_batch_measured():
    method = made("crd", width=4, queue=8)
    method.losses(batch(0)[0])
    first = method.mean_exponentials.clone()
    assert (first > 0).all()
    method.losses(batch(1)[0])
    assert torch.equal(method.mean_exponentials, first)


@pytest.mark.parametrize("name", ["crd", "wcord", "info_nce"])
def test_a_checkpoint_goes_on_where_it_was(name):
    whole, first, second = (made(name, queue=6) for _ in range(3))
    for method in (whole, first):
        method.losses(batch(0)[0])
    second.load_state_dict(first.state_dict())
    assert len(second.memory) == N
    for term in ("contrast", "global"):
        found = [method.losses(batch(1)[0]).get(term) for method in (whole, second)]
        if found[0] is not None:
            assert torch.equal(found[0], found[1])


def test_earlier_rows_are_negatives_and_a_row_itself_is_none():
    method = made("info_nce", queue=6)
    (first, _, earlier), (b, ours, theirs) = batch(0), batch(1)
    method.losses(first)
    expected = L.info_nce(method.project(ours), theirs, queue=earlier)
    torch.testing.assert_close(method.losses(b)["contrast"], expected)

    method = made("info_nce", queue=4)
    method.losses(batch(5, theirs)[0])
    own = torch.eye(N, dtype=torch.bool)
    expected = L.info_nce(method.project(ours), theirs, queue=theirs, same_in_queue=own)
    torch.testing.assert_close(method.losses(batch(1, theirs)[0])["contrast"], expected)


def test_wcord_in_both_forms():
    method, (b, ours, theirs) = made("wcord", queue=0, reg=0.2).eval(), batch(0)
    found = method.losses(b)
    local = L.transport_cost(method.project(ours), theirs, cost="cosine", reg=0.2)
    torch.testing.assert_close(found["local"], local)
    u = method.critic_student(F.normalize(ours, dim=1))
    v = method.critic_teacher(F.normalize(theirs, dim=1))
    torch.testing.assert_close(found["global"], L.dual_contrast(u @ v.T))
    assert plan_method("wcord_local").config.weight_global == 0
    assert plan_method("wcord_global").config.weight_local == 0


def test_the_critic_stays_of_slope_one():
    """The dual form is linear: without a bound it falls for ever."""
    method, (b, _, _) = made("wcord", queue=0, width=4), batch(0)
    optimiser = torch.optim.SGD(method.parameters(), 1.0)
    for _ in range(60):
        optimiser.zero_grad()
        loss = method.losses(b)["global"]
        loss.backward()
        optimiser.step()
    assert -2.01 <= float(loss.detach()) < -0.3
    for critic in (method.critic_student, method.critic_teacher):
        assert float(torch.linalg.matrix_norm(critic.weight.detach(), 2)) < 1.05
