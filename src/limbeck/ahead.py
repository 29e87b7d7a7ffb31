"""What can be refused before a teacher is trained or asked, which may take hours."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from limbeck.data.task import Task
from limbeck.methods.registry import MethodPlan
from limbeck.plan import check_problem, make_fellow, make_student, student_side, training_arguments
from limbeck.recipes.recipe import Recipe, TeacherSpec
from limbeck.signals.classes import join_class_names
from limbeck.students import model_from_spec
from limbeck.students.sizing import sized_config
from limbeck.students.specs import ENCODERS
from limbeck.taught import side_of
from limbeck.training.peers import check_scored
from limbeck.training.trainer import check_best_metric


def check_ahead(recipe: Recipe, task: Task, plan: MethodPlan, given: Collection[str] = ()) -> None:
    """Make what learns once, so that what is wrong with it is told before a teacher is trained or asked for hours.

    Nothing is kept, and no draw moves. Where all teachers are there, :func:`make_trainer` says the same at once.

    Args:
        given: teachers that are there.

    Raises: as :func:`make_trainer`, of the student, its fellows and the settings of the training.
    """
    specs = {name: s for name, s in recipe.teacher_specs().items() if s.bank is None and name not in given}
    if not specs or not plan.declared.has_teacher:
        return
    train, validation = task.splits["train"], None
    if "validation" in task.splits:
        validation = task.splits["validation"]
    check_problem(plan, train)
    arguments = training_arguments(
        recipe.training, Path(recipe.output_dir), recipe.seed, validated=validation is not None
    )
    check_best_metric(arguments, validation)
    if arguments.scores is not None:
        check_scored(arguments.scores, recipe.peers, ema=arguments.ema or "ema" in plan.declared.peers)
    with torch.random.fork_rng(devices=[]):
        student_side(make_student(recipe.student, train), train, plan)
        for name, peer in recipe.peers.items():
            if peer.follows is None:
                student_side(make_fellow(name, peer, recipe, train), train)
        for name, spec in specs.items():
            _check_teacher(name, spec, task, plan)


def _check_teacher(name: str, spec: TeacherSpec, task: Task, plan: MethodPlan) -> None:
    """Make the network of a teacher that is yet to be trained, and compare its classes with the student's."""
    if spec.live not in (None, "model") or spec.model not in ENCODERS:
        return
    rows = side_of(task, name).splits["link"] if spec.view == "teacher" else task.splits["train"]
    model_from_spec(
        spec.model, problem=rows.problem, init=spec.init, **sized_config(spec.model, spec.config, rows)
    )
    if {"logits", "head"} & plan.declared.needs and (
        spec.class_map or tuple(rows.class_names) != tuple(task.class_names)
    ):
        join_class_names(task.class_names, rows.class_names, spec.class_map)
