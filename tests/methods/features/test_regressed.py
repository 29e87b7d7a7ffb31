"""Methods that regress the teacher's features: what their learned parts do."""

from __future__ import annotations

import pytest
import torch
from steps import shapes, step_batch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.methods.base import Method, StepBatch
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput


def made(name: str, **config: object) -> Method:
    torch.manual_seed(0)
    plan = plan_method(name, config)
    return plan.cls(plan.config, shapes(3, 2, 2))


def batch(n: int = 64) -> tuple[StepBatch, torch.Tensor, torch.Tensor]:
    """The teacher's first feature is the student's, its second is noise."""
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(n, 3, generator=generator)
    theirs = torch.stack([ours[:, 0], 3 * torch.randn(n, generator=generator)], 1)
    b = step_batch(
        StudentOutput(logits=ours[:, :2], features=ours), TeacherOutput(features=theirs), pairs=list(range(n))
    )
    return b, ours, theirs


def test_vid_by_its_law():
    b, ours, theirs = batch()
    method = made("vid", initial_variance=2.0)
    variance = F.softplus(method.raw_variance) + 1e-5
    assert variance.tolist() == pytest.approx([2.0, 2.0], rel=1e-4)
    expected = L.variational_nll(method.guess(ours), theirs, method.raw_variance) * len(ours)
    assert float(method.losses(b)["information"]) == pytest.approx(float(expected), rel=1e-5)


def test_vid_learns_what_cannot_be_guessed():
    b, _, _ = batch(512)
    method = made("vid")
    optimiser = torch.optim.Adam(method.parameters(), 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        (method.losses(b)["information"] / len(b)).backward()
        optimiser.step()
    known, noise = F.softplus(method.raw_variance).tolist()
    assert known < 1 < 4 < noise


def test_every_group_is_matched():
    b, ours, theirs = batch()
    method = made("n_to_one", groups=3)
    groups = method.expand(ours).reshape(len(ours), 3, 2)
    expected = (groups - theirs[:, None]).square().sum() / 2
    assert float(method.losses(b)["match"]) == pytest.approx(float(expected), rel=1e-5)


def test_factors_of_each_side_and_an_own_loss_of_the_paraphraser():
    b, ours, theirs = batch()
    method = made("factor_transfer", share=1.5, p=2.0)
    found = method.losses(b)
    factors = method.paraphrase(theirs)
    assert factors.shape == (64, 3)
    expected = L.normalised_gap(method.translate(ours), factors, p=2.0, reduction="sum")
    assert float(found["factor"]) == pytest.approx(float(expected), rel=1e-5)
    own = (method.back(factors) - theirs).square().sum() / 2
    assert float(found["paraphrase"]) == pytest.approx(float(own), rel=1e-5)
    slopes = torch.autograd.grad(found["factor"], list(method.paraphrase.parameters()), allow_unused=True)
    assert all(slope is None for slope in slopes)
