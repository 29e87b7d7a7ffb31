"""Answers at positions, as vectors and as samples: each trains below the best constant's loss, and ships as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from levels import some_of
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task
from limbeck.errors import ConfigError
from limbeck.problems import Problem, Targets
from limbeck.problems.registry import problem
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.runner import RunResult, run
from limbeck.students.export.exported import load_exported
from limbeck.students.export.folder import export_student

N, TRAIN = 240, 160
ALL = torch.ones(N, dtype=torch.bool)


def cut(name: str, posed: Problem, inputs: dict[str, Tensor], targets: Targets) -> Task:
    def part(rows: range) -> Examples:
        index = torch.tensor(rows)
        taken = {name: value[index] for name, value in inputs.items()}
        return Examples(taken, tuple(rows), targets.rows(index), posed)

    return Task(
        name, Splits(train=part(range(TRAIN)), validation=part(range(TRAIN, N)), test=part(range(TRAIN, N)))
    )


def tokens() -> Task:
    """A token's class is whether it, or the one before it, is odd."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 20, (N, 9), generator=generator)
    mask = torch.arange(9) < torch.randint(3, 10, (N, 1), generator=generator)
    before = torch.cat([ids[:, :1], ids[:, :-1]], dim=1)
    classes = torch.where(mask, (ids % 2) + (before % 2), -100)
    inputs = {"input_ids": torch.where(mask, ids, 0), "attention_mask": mask.long()}
    return cut("tokens", problem("token_classes", ("none", "one", "both")), inputs, Targets(classes, ALL))


def pixels() -> Task:
    """A pixel's class is the sign of its first channel."""
    x = torch.randn(N, 2, 6, 5, generator=torch.Generator().manual_seed(1))
    return cut(
        "pixels", problem("segmentation", ("below", "above")), {"x": x}, Targets((x[:, 0] > 0).long(), ALL)
    )


def vectors() -> Task:
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(2))
    wanted = torch.tanh(x @ torch.randn(6, 4, generator=torch.Generator().manual_seed(3)))
    targets = Targets(wanted, ALL)
    return cut("vectors", problem("embedding", ("vector",)).fitted(targets), {"x": x}, targets)


def samples() -> Task:
    """Points near (1, 1) and (-1, -1)."""
    generator = torch.Generator().manual_seed(4)
    side = 2.0 * torch.randint(2, (N, 1), generator=generator) - 1
    x = side + 0.1 * torch.randn(N, 2, generator=generator)
    inputs = {"x": x, "t": torch.zeros(N)}
    posed = problem("denoising", ("x",))
    return cut("samples", posed, inputs, posed.unlabelled(N))


# The task, the student, the method.
CASES = {
    "token_classes": (tokens, StudentSpec("token_encoder", {"vocab_size": 20, "width": 24}), "supervised"),
    "segmentation": (pixels, StudentSpec("pixel_encoder", {"in_channels": 2, "channels": [8]}), "supervised"),
    "embedding": (vectors, StudentSpec("table_encoder", {"n_columns": 6}), "supervised"),
    "denoising": (samples, StudentSpec("denoiser", {"n_columns": 2, "hidden": [64, 64]}), "denoise"),
}


def best_constant(kind: str, task: Task) -> float:
    """What a student that says the same everywhere loses, by hand."""
    rows = task.splits["validation"]
    if kind == "embedding":
        return float((rows.targets.values - rows.targets.values.mean(0)).square().mean())
    if kind == "denoising":
        # velocity, alpha noise - sigma x, has the mean 0 and in each column the variance alpha^2 + 1.01 sigma^2
        return 1.0
    classes = rows.targets.values[rows.targets.values >= 0]
    share = torch.bincount(classes).double() / len(classes)
    return float(-(share * share.log()).sum())


def trained(kind: str, folder: Path, steps: int = 300) -> RunResult:
    make, student, method = CASES[kind]
    training = {"max_steps": steps, "n_labelled": 48, "learning_rate": 1e-2, "eval_steps": steps}
    recipe = Recipe(method=MethodSpec(method), training=training, student=student, output_dir=str(folder))
    return run(recipe, task=make(), show_progress=False)


@pytest.mark.parametrize("kind", some_of(CASES, *list(CASES)[:1]))
def test_it_trains_below_the_best_constant_and_ships(kind: str, tmp_path: Path) -> None:
    result = trained(kind, tmp_path / "run")
    posed, rows = result.task.problem, result.task.splits["validation"]
    with torch.no_grad():
        total, _ = posed.evaluated(result.student, rows.all_rows(), rows.targets)
    loss = float(total) / posed.count(rows.targets)
    assert loss < 0.8 * best_constant(kind, result.task)

    inputs = {name: value[:7] for name, value in rows.all_rows().items()}
    folder = export_student(
        result.student,
        tmp_path / "student",
        problem=posed,
        inputs_example=inputs,
        preprocessor={},
        provenance={},
    )
    shipped = load_exported(folder)
    with torch.no_grad():
        out = result.student(inputs)
    said = out.logits if result.student.classifies else out.prediction
    torch.testing.assert_close(shipped.outputs(inputs), said, rtol=1e-4, atol=1e-5)
    assert shipped.problem == posed
    answers = shipped.answers(inputs)
    assert len(answers) == 7
    assert all(posed.told(answer) for answer in answers)


def test_tokens_are_answered_where_there_are_any(tmp_path: Path) -> None:
    result = trained("token_classes", tmp_path, steps=2)
    rows = result.task.splits["validation"].all_rows()
    out = result.student(rows)
    said = result.task.problem.answers(out.logits, out.mask)
    assert [len(answer["classes"]) for answer in said] == rows["attention_mask"].sum(1).tolist()


def test_samples_of_a_trained_denoiser_are_nearer_to_the_data(tmp_path: Path) -> None:
    early, late = (trained("denoising", tmp_path / str(n), steps=n) for n in (1, 300))
    assert late.metrics["test"]["sliced_wasserstein"] < 0.5 * early.metrics["test"]["sliced_wasserstein"]


def test_labels_teach_a_denoiser_nothing(tmp_path: Path) -> None:
    recipe = Recipe(
        method=MethodSpec("supervised"),
        training={"max_steps": 2},
        student=CASES["denoising"][1],
        output_dir=str(tmp_path),
    )
    with pytest.raises(ConfigError, match=r"Labels teach nothing in the problem denoising.*'denoise'"):
        run(recipe, task=samples())
