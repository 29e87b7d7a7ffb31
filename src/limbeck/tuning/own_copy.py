"""The control ``self``: an earlier copy of the student, trained without a teacher, answers in the teacher's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError, LinkError
from limbeck.methods.registry import MethodPlan, plan_method
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import MethodSpec, TeacherSpec
from limbeck.runner import run
from limbeck.seeding import keyed_seed
from limbeck.signals.output import Head
from limbeck.students import Student
from limbeck.taught import link_of
from limbeck.teachers.live import LiveTeacher

SELF = "self"
GIVEN = {"features", "logits", "head"}  # what a copy of the student can say
_ROWS = 256


def is_self(control: str) -> bool:
    """Whether a control is ``self``, or ``self:TEACHER``."""
    return control.partition(":")[0] == SELF


def check_self(plan: MethodPlan, source: Bank | LiveTeacher, task: Task) -> None:
    """Refuse a method, teacher or problem for which no copy of the student can answer; ConfigError."""
    if isinstance(source, LiveTeacher):
        raise ConfigError(
            "The control 'self' puts a copy of the student in the place of a bank; ask the live teacher into a bank "
            "first."
        )
    if plan.declared.text_as_features or (lacking := sorted(plan.declared.needs - GIVEN)):
        what = "texts" if plan.declared.text_as_features else lacking[0]
        raise ConfigError(
            f"The control 'self' needs a method that reads features or logits, and {plan.name!r} reads the teacher's "
            f"{what}; take 'shuffled' or 'random'."
        )
    if task.problem.reading != "classifier":
        raise ConfigError(
            f"The control 'self' is for problems whose rows are answered as a whole, not for {task.problem.kind}; take "
            "'shuffled' or 'random'."
        )


def taught_by_itself(
    recipe: Recipe, control: str, task: Task, banks: dict[str, Bank], folder: Path
) -> dict[str, Bank]:
    """The same banks, but that of the named teacher (of all of them without a name) holds what a copy says.

    The copy is the recipe's student after the recipe's own training without a teacher: same rows, steps, views, seed.
    Each teacher row is replaced by the copy's answer on a student row that the link allows for it
    (:meth:`limbeck.signals.links.base.Link.stand_ins`); rows that it allows none for are left out.

    Args:
        recipe: of the arm.    folder: of the run; the copy and its bank lie below ``copy``.
    """
    alone = replace(recipe, method=MethodSpec("supervised"), teacher=TeacherSpec(), teachers={})
    result = run(replace(alone, output_dir=str(folder / "copy")), task=task, show_progress=False)
    says = _answers(result.student, result.task.splits["train"])
    named = control.partition(":")[2]
    return {
        name: bank if named and name != named else _in_place_of(bank, name, recipe, result.task, says, folder)
        for name, bank in banks.items()
    }


@torch.no_grad()
def _answers(student: Student, rows: Examples) -> dict[str, Any]:
    """Features, logits and head of the copy, on all training rows."""
    device = next(student.parameters()).device
    parts: dict[str, list[torch.Tensor]] = {"features": [], "logits": []}
    head: Head | None = None
    for start in range(0, len(rows), _ROWS):
        inputs = rows.rows(range(start, min(start + _ROWS, len(rows))))
        out = student({n: v.to(device) if isinstance(v, torch.Tensor) else v for n, v in inputs.items()})
        parts["features"].append(out.features.float().cpu())
        parts["logits"].append(out.logits.float().cpu())
        head = out.head
    classifier = None if head is None else tuple(None if p is None else p.float().cpu() for p in head)
    return {**{name: torch.cat(values) for name, values in parts.items()}, "head": classifier}


def _in_place_of(
    bank: Bank, name: str, recipe: Recipe, task: Task, says: dict[str, Any], folder: Path
) -> Bank:
    spec, train = recipe.teacher_specs()[name], task.splits["train"]
    link = link_of(spec, name, bank, task)
    reads_classes = bank.class_names is not None and (
        link.goes_by_class
        or bool(plan_method(recipe.method.name, recipe.method.config).declared.needs & {"logits", "head"})
    )
    if reads_classes:
        bank = bank.with_class_names(task.class_names, spec.class_map)
    classes = task.problem.classes(train.targets)
    seed = keyed_seed(SELF, name, recipe.seed)
    stands = link.stand_ins(bank, train.keys, classes, seed=seed)
    once = bank.rows_of(tuple(dict.fromkeys(bank.keys)), bank.views[0])  # a copy has one view of each sample
    kept = once[stands[once] >= 0]
    if not len(kept):
        raise LinkError(
            "The control 'self' finds no student row for any row of the teacher; take 'shuffled'."
        )
    rows = torch.from_numpy(stands[kept])
    labels = bank.labels[torch.from_numpy(kept)] if reads_classes and bank.labels is not None else None
    return Bank.from_arrays(
        folder / "copy" / f"bank_{name}",
        keys=[bank.keys[i] for i in kept.tolist()],
        features=says["features"][rows],
        logits=says["logits"][rows],
        head=says["head"],
        labels=labels,
        class_names=task.class_names if task.problem.is_distribution else None,
        overwrite=True,
    )
