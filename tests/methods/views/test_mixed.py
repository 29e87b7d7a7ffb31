"""Mixtures of rows: what they are made of, and which of them are picked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steps import shapes, step_batch

from limbeck.errors import ConfigError, DataError
from limbeck.methods.registry import plan_method
from limbeck.methods.views.mixed import Mixed
from limbeck.methods.views.mixtures import mixtures
from limbeck.problems.classification import Classification
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput


def test_mixup_is_a_mean_of_two_rows_and_all_columns_alike() -> None:
    x = torch.randn(6, 3)
    made = mixtures({"a": x, "b": 2 * x}, "mixup", 1.0, np.random.default_rng(0))
    assert torch.allclose(made.inputs["b"], 2 * made.inputs["a"])
    draw = np.random.default_rng(0)
    other, share = torch.from_numpy(draw.permutation(6)), draw.beta(1.0, 1.0)
    assert torch.allclose(made.inputs["a"], share * x + (1 - share) * x[other])
    assert torch.equal(made.second, other)
    assert torch.allclose(made.share, torch.full((6,), share))


def test_a_share_for_each_row_and_few_rows_mixed() -> None:
    x = torch.randn(40, 3, dtype=torch.float64)
    made = mixtures({"x": x}, "mixup", 1.0, np.random.default_rng(0), by_row=True, partial=0.25)
    stays = made.share == 1
    assert int(stays.sum()) == 30
    assert torch.equal(made.inputs["x"][stays], x[stays])
    assert len(made.share.unique()) == 11
    share = made.share[:, None].double()
    torch.testing.assert_close(made.inputs["x"], share * x + (1 - share) * x[made.second])


def test_the_share_of_a_box_is_what_it_leaves() -> None:
    x = torch.arange(4.0)[:, None, None, None].expand(4, 2, 8, 8)
    for seed in range(5):
        made = mixtures({"x": x}, "cutmix", 1.0, np.random.default_rng(seed), partial=0.5)
        kept = (made.inputs["x"] == x).float().mean((1, 2, 3))
        moved = (made.share < 1) & (made.second != made.first)
        torch.testing.assert_close(made.share[moved], kept[moved])
        assert int((made.share < 1).sum()) <= 2
    with pytest.raises(ConfigError, match="one for a batch; take mixup"):
        mixtures({"x": x}, "cutmix", 1.0, np.random.default_rng(0), by_row=True)


def test_cutmix_puts_one_box_of_another_row_into_each() -> None:
    x = torch.arange(4.0)[:, None, None, None].expand(4, 2, 8, 8)
    sizes = []
    for seed in range(20):
        made = mixtures({"x": x}, "cutmix", 1.0, np.random.default_rng(seed)).inputs["x"]
        other = torch.from_numpy(np.random.default_rng(seed).permutation(4))
        changed = made != x
        assert torch.equal(made[changed], x[other][changed])
        box = changed.any(0)[0]
        assert int(box.sum()) == int(box.any(0).sum()) * int(
            box.any(1).sum()
        )  # one box, the same in every row
        sizes.append(int(box.sum()))
    assert min(sizes) < 16 < 32 < max(sizes)


@pytest.mark.parametrize(
    ("value", "mix"), [(torch.ones(2, 3, dtype=torch.long), "mixup"), (torch.ones(2, 3), "cutmix")]
)
def test_what_cannot_be_mixed_is_a_sentence(value: torch.Tensor, mix: str) -> None:
    with pytest.raises(DataError, match=f"cannot be mixed by {mix}"):
        mixtures({"x": value}, mix, 1.0, np.random.default_rng(0))


def test_of_a_few_rows_a_small_part_is_mixed_now_and_then() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    made = [mixtures({"x": x}, "mixup", 1.0, np.random.default_rng(seed), partial=0.1) for seed in range(500)]
    assert sum(int((of.share < 1).sum()) for of in made) == pytest.approx(0.1 * 4 * 500, abs=40)


def test_the_least_sure_mixtures_are_taken() -> None:
    """The teacher is as sure as its input is far from 0."""
    plan = plan_method("mixed", {"candidates": 3})
    method = plan.cls(plan.config, shapes(2, 2, 2))
    assert isinstance(method, Mixed)
    seen: dict[str, torch.Tensor] = {}

    def ask(name: str, inputs: dict[str, torch.Tensor]) -> TeacherOutput:
        seen["all"] = inputs["x"]
        return TeacherOutput(logits=torch.cat([inputs["x"], -inputs["x"]], dim=1))

    def run(inputs: dict[str, torch.Tensor]) -> StudentOutput:
        seen["taken"] = inputs["x"]
        return StudentOutput(logits=torch.zeros(len(inputs["x"]), 2, requires_grad=True))

    said = TeacherOutput(logits=torch.zeros(4, 2))
    b = step_batch(StudentOutput(logits=torch.zeros(4, 2)), said, pairs=range(4), run=run, ask=ask)
    b.inputs = {"x": torch.tensor([[5.0], [-1.0], [0.2], [3.0]])}
    b.generator = torch.Generator().manual_seed(0)
    method.losses(b)
    assert seen["all"].shape == (12, 1)
    wanted = seen["all"].abs().flatten().sort().values[:4]
    assert torch.equal(seen["taken"].abs().flatten().sort().values, wanted)


def _asked_about_mixtures(
    name: str, config: dict[str, object], classes: list[int], problem: Classification | None = None
) -> tuple[dict[str, torch.Tensor], torch.Tensor, dict[str, torch.Tensor]]:
    """Terms of a method whose student is linear in two numbers, in float64; its weights; the mixtures it saw."""
    plan = plan_method(name, config)
    method = plan.cls(plan.config, shapes(2, 2, 3))
    weight = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight.requires_grad_()
    seen: dict[str, torch.Tensor] = {}

    def run(inputs: dict[str, torch.Tensor]) -> StudentOutput:
        seen["x"] = inputs["x"]
        return StudentOutput(logits=inputs["x"] @ weight)

    def ask(name: str, inputs: dict[str, torch.Tensor]) -> TeacherOutput:
        return TeacherOutput(logits=inputs["x"] @ torch.tensor([[2.0, 0, -1], [0.5, 1, 0]]).double())

    out = StudentOutput(logits=torch.zeros(len(classes), 3, dtype=torch.float64))
    said = TeacherOutput(logits=torch.zeros(len(classes), 3)) if plan.declared.has_teacher else None
    b = step_batch(out, said, pairs=range(len(classes)), labels=classes, run=run, ask=ask)
    if problem is not None:
        b.problem = problem
    generator = torch.Generator().manual_seed(2)
    b.inputs = {"x": torch.randn(len(classes), 2, dtype=torch.float64, generator=generator)}
    b.generator = torch.Generator().manual_seed(0)
    seen["rows"] = b.inputs["x"]
    return method.losses(b), weight, seen


def _shares(seen: dict[str, torch.Tensor]) -> list[tuple[int, int, float]]:
    """Which two rows a mixture is made of, and the share of the first, solved from its numbers alone."""
    found = []
    for i, x in enumerate(seen["x"]):
        own = seen["rows"][i]
        gaps = []
        for j, other in enumerate(seen["rows"]):
            along = other - own
            t = float(torch.dot(x - own, along) / torch.dot(along, along)) if i != j else 0.0
            gaps.append((float((own + t * along - x).norm()), j, 1 - t))
        _, j, share = min(gaps)
        found.append((i, j, share))
    return found


def test_mix_kd_is_what_its_authors_compute() -> None:
    """Per row softmax of logits over their (unbiased) spread on both sides, no squared temperature; soft labels by the
    shares of each mixture; written here from the paper, row by row."""
    classes = [0, 1, 2, 1, 0, 2]
    terms, weight, seen = _asked_about_mixtures("mix_kd", {"partial": 0.5}, classes)
    assert set(terms) == {"supervised", "mixed"}
    of_teacher = torch.tensor([[2.0, 0, -1], [0.5, 1, 0]]).double()
    match, labels = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    mixed = 0
    for (i, j, share), x in zip(_shares(seen), seen["x"]):
        z, t = x @ weight, x @ of_teacher
        log_p, q = torch.log_softmax(z / z.std(), 0), torch.softmax(t / t.std(), 0)
        match = match + (q * (q.log() - log_p)).sum() / len(classes)
        labels = labels - share * log_p[classes[i]] - (1 - share) * log_p[classes[j]]
        mixed += share < 1 - 1e-9
    assert mixed == 3
    for term, wanted in (("mixed", match), ("supervised", labels)):
        torch.testing.assert_close(terms[term], wanted, rtol=1e-5, atol=1e-7)
        (ours,) = torch.autograd.grad(terms[term], weight, retain_graph=True)
        (theirs,) = torch.autograd.grad(wanted, weight, retain_graph=True)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_row_without_a_label_adds_nothing_and_class_weights_count() -> None:
    classes, weights = [0, -100, 2, -100], torch.tensor([1.0, 1.0, 5.0]).double()
    problem = Classification(("a", "b", "c"), class_weights=(1.0, 1.0, 5.0))
    terms, weight, seen = _asked_about_mixtures("supervised", {"mixup": 1.0}, classes, problem)
    wanted = torch.zeros((), dtype=torch.float64)
    for (i, j, share), x in zip(_shares(seen), seen["x"]):
        log_p = torch.log_softmax(x @ weight, 0)
        for row, part in ((i, share), (j, 1 - share)):
            if classes[row] >= 0:
                wanted = wanted - part * weights[classes[row]] * log_p[classes[row]]
    torch.testing.assert_close(terms["supervised"], wanted, rtol=1e-5, atol=1e-7)


def test_the_student_is_asked_about_mixtures_alone() -> None:
    assert plan_method("mix_kd").declared.student == "asked"
    assert plan_method("mix_kd", {"weight_distillation": 0.5}).declared.student == "always"
    assert plan_method("supervised", {"mixup": 0.4}).declared.problems == {"classification"}
    with pytest.raises(ConfigError, match="Mixtures have soft labels"):
        plan_method("supervised", {"mixup": 0.4, "label_smoothing": 0.1})
