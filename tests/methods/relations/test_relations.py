"""Methods of relations and contrast: which rows they see, and what they say of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from steps import shapes, step_batch

from limbeck import functional as L
from limbeck.methods.base import Method, StepBatch
from limbeck.methods.registry import plan_method
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

PAIRS = (3, -1, 0, 2, -1, 1)  # the student's rows 0, 2, 3, 5 with the teacher's 3, 0, 2, 1
PAPER = {
    "sp": L.similarity_preserving,
    "cc": L.correlation_congruence,
    "pkt": L.pkt,
}


def made(name: str, **config: object) -> Method:
    plan = plan_method(name, config)
    return plan.cls(plan.config, shapes(3, 5, 2))


def batch(pairs: Sequence[int] = PAIRS) -> tuple[StepBatch, torch.Tensor, torch.Tensor]:
    """A batch, and the features of its pairs side by side."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(6, 3, generator=generator), torch.randn(4, 5, generator=generator)
    ours.requires_grad_()
    student = StudentOutput(logits=ours[:, :2], features=ours)
    rows = [i for i, j in enumerate(pairs) if j >= 0]
    b = step_batch(student, TeacherOutput(features=theirs), pairs=pairs, labels=[-100] * 6)
    return b, ours[rows], theirs[[pairs[i] for i in rows]]


@pytest.mark.parametrize(("name", "function"), PAPER.items())
def test_a_relation_of_the_pairs_alone(name, function):
    b, ours, theirs = batch()
    assert float(made(name).losses(b)["relation"]) == pytest.approx(float(function(ours, theirs)), rel=1e-6)


def test_presets_name_their_relation():
    assert [plan_method(name).config.relation for name in PAPER] == list(PAPER)
    assert plan_method("sp").config.weight_relation == 3000


def test_rkd_has_both_relations():
    b, ours, theirs = batch()
    found = made("rkd").losses(b)
    assert float(found["distance"]) == pytest.approx(float(L.rkd_distance(ours, theirs)), rel=1e-6)
    assert float(found["angle"]) == pytest.approx(float(L.rkd_angle(ours, theirs)), rel=1e-6)


def test_contrast_of_the_pairs_after_the_map():
    b, ours, theirs = batch()
    method = made("info_nce", symmetric=True, temperature=0.5)
    expected = L.info_nce(method.project(ours), theirs, temperature=0.5, symmetric=True)
    assert float(method.losses(b)["contrast"]) == pytest.approx(float(expected), rel=1e-6)


def test_students_that_share_a_teacher_row_are_no_negatives():
    b, _, _ = batch([1, 1, 1, -1, -1, -1])
    assert float(made("info_nce").losses(b)["contrast"]) == 0


@pytest.mark.parametrize("name", ["sp", "cc", "pkt", "rkd", "info_nce", "wcord", "crd"])
def test_without_pairs_nothing_but_a_path(name):
    b, _, _ = batch([-1] * 6)
    found = made(name).losses(b)
    assert not any(bool(value) for value in found.values())
    torch.stack([*found.values()]).sum().backward()
