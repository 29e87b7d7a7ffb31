"""``diagnose(recipe) -> Diagnosis``: whether a teacher can help, before it is trained with."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from limbeck.banks.bank import Bank
from limbeck.banks.folder.verifying import verifying
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, MissingSignalError, UnknownNameError, nearest
from limbeck.evaluation.diagnosis.examine import Alone, Examined, examine
from limbeck.evaluation.diagnosis.facts import (
    idle_facts,
    leak_warnings,
    own_accuracy,
    paired_cka,
    student_bound,
    teacher_features,
)
from limbeck.evaluation.diagnosis.feature_teacher import with_predictions
from limbeck.evaluation.diagnosis.outcome import Diagnosis
from limbeck.evaluation.diagnosis.reach import Reach, reach, silently_reached
from limbeck.evaluation.diagnosis.reasons import helps_more, reasons
from limbeck.evaluation.diagnosis.signal_facts import (
    feature_facts,
    prediction_facts,
    signal_warnings,
)
from limbeck.methods.registry import plan_method
from limbeck.plan import make_student
from limbeck.recipes.recipe import Recipe, check_recipe
from limbeck.recipes.specs import MethodSpec
from limbeck.runner import run
from limbeck.seeding import keyed_seed
from limbeck.students.own_model import own_models
from limbeck.students.student import Student
from limbeck.taught import link_of, readable, side_of
from limbeck.teacher_stage import teacher_of
from limbeck.teachers.live import LiveTeacher
from limbeck.training.collator import DistillationCollator, LinkedTeacher, without_padding
from limbeck.training.encoding import encoded_task
from limbeck.training.streams import check_links
from limbeck.training.teacher_reading import Taught

_OF_CHECKPOINTS = ("save_", "eval_", "load_best_", "metric_for_best_", "greater_is_better")
_AS_METHOD = "divergence"  # reads classes row by row; which method the recipe names does not matter here


def diagnose(
    recipe: Recipe,
    *,
    task: Task | None = None,
    bank: Bank | LiveTeacher | None = None,
    teacher: str | None = None,
    alone: float | None = None,
    train_alone: bool = True,
    verify: bool = True,
    trust_code: bool = False,
) -> Diagnosis:
    """Measure, before training, what a teacher will bring: a pilot distillation by ridge regression on the student's
    features, and how much of the class comes through the link; the smaller of the two is expected.

    The student is trained once *without* a teacher, which tells what there is to gain. A teacher that the recipe makes
    is made in ``recipe.output_dir``, where a run finds it again. No label of a test row is read.

    Args:
        task, bank: in place of the recipe's data and teacher, as for :func:`limbeck.run`.
        teacher: which of several teachers.
        alone: accuracy of the student without a teacher on validation rows, in [0, 1], where it is known.
        train_alone: False spares that training; a probe on the untrained student's features stands in, which may be
            20 points too low, and then promises too much.
        verify: read every byte of the bank first, see :func:`limbeck.run`.
        trust_code: import models that the recipe names as ``MODULE:FACTORY``, which runs their code.

    Raises: ConfigError for a problem without classes, a method without a teacher and wrong values; DataError without
        training rows; what :func:`limbeck.run` raises before its first step.

    Example:
        >>> print(limbeck.diagnose(Recipe.load("mine.yaml")).sentence)  # doctest: +SKIP
    """
    began = time.perf_counter()
    check_recipe(recipe)
    if alone is not None and not 0 <= alone <= 1:
        raise ConfigError(f"alone={alone} must be an accuracy in [0, 1], such as 0.58.")
    name = _teacher_name(recipe, teacher)
    raw = task or make_task(recipe.data.name, recipe.data.config, seed=recipe.seed)
    _check(recipe, raw)
    coded, *_ = encoded_task(raw, recipe.student.model, recipe.student.max_length)
    with own_models(trust_code=trust_code):
        student = _student(recipe, coded)  # first: what is wrong with it is told before a teacher is trained
        with verifying(verify):
            if isinstance(bank, Bank):
                bank.verify_once()
            source = bank if bank is not None else _source(recipe, coded, name)
        _check_link(recipe, coded, name, source)
        taught = _readable(source, name, recipe, coded)
        judged = _trained_alone(recipe, coded) if train_alone and alone is None else alone
    train = coded.splits["train"]
    link = link_of(recipe.teacher_specs()[name], name, source, coded)
    reached = silently_reached(link, train) if taught is None else _reach(taught, coded)
    found = examine(
        student,
        train,
        _validation(coded),
        reached,
        truth=coded.truth,
        alone=judged,
        own_accuracy=own_accuracy(coded, source if isinstance(source, Bank) else None),
        n_bags=_n_bags(taught, coded),
    )
    outcome = _outcome(recipe, raw, coded, name, (source, taught), reached, found, judged)
    return replace(outcome, seconds=time.perf_counter() - began)


# ---- what is diagnosed --------------------------------------------------------------------------------------


def _teacher_name(recipe: Recipe, teacher: str | None) -> str:
    names = list(recipe.teacher_specs())
    if not plan_method(recipe.method.name, recipe.method.config).declared.has_teacher:
        raise ConfigError(
            f"Method {recipe.method.name!r} has no teacher, so there is none to diagnose; set method.name to the one "
            "that you mean to use."
        )
    if teacher is None and len(names) > 1:
        raise ConfigError(f"The recipe has several teachers; say which one to diagnose: {', '.join(names)}.")
    if teacher is not None and teacher not in names:
        raise UnknownNameError(f"The recipe has no teacher {teacher!r}; {nearest(teacher, names)}")
    return teacher or names[0]


def _check(recipe: Recipe, task: Task) -> None:
    train = task.splits["train"]
    if train.problem.classes(train.targets) is None or not train.problem.is_distribution:
        raise ConfigError(
            f"A diagnosis counts right classes, and this task predicts {train.problem.kind}; run a comparison with "
            "controls instead."
        )
    if not len(train):
        raise DataError(f"The task {task.name!r} has no training rows.")


def _source(recipe: Recipe, task: Task, name: str) -> Bank | LiveTeacher:
    folder = Path(recipe.output_dir)
    own = folder / name if recipe.teachers else folder
    own.mkdir(parents=True, exist_ok=True)
    return teacher_of(recipe.teacher_specs()[name], task, own, name)


def _check_link(recipe: Recipe, task: Task, name: str, source: Bank | LiveTeacher) -> None:
    """What a run with this method would refuse."""
    link = link_of(recipe.teacher_specs()[name], name, source, task)
    linked = (
        LinkedTeacher(source.samples, link, sees_student=source.view == "same")
        if isinstance(source, LiveTeacher)
        else LinkedTeacher(source, link)
    )
    plan = plan_method(recipe.method.name, recipe.method.config)
    collate = DistillationCollator(task.splits["train"], {name: linked}, views={}, seed=recipe.seed)
    check_links(plan.name, plan.declared, collate)


def _readable(source: Bank | LiveTeacher, name: str, recipe: Recipe, task: Task) -> Taught | None:
    """The teacher's class predictions in the student's classes, under the recipe's control; None where it says none and
    nothing can be made to speak for it."""
    plan = plan_method(_AS_METHOD)
    try:
        return readable(source, name, recipe, task, plan)
    except MissingSignalError:
        if not isinstance(source, Bank):
            return None
    spec = recipe.teacher_specs()[name]
    named = source.with_class_names(task.class_names, spec.class_map)
    found = with_predictions(named, link_of(spec, name, source, task), task.splits["train"])
    if found is None:
        return None
    taught = readable(found[0], name, recipe, task, plan)
    return replace(taught, warnings=(*taught.warnings, found[1]))


def _student(recipe: Recipe, task: Task) -> Student:
    train = task.splits["train"]
    torch.manual_seed(keyed_seed(recipe.seed, "student"))  # as the run starts it
    student = make_student(recipe.student, train)
    student.probe(without_padding(train.rows(range(min(2, len(train))))))
    return student


def _trained_alone(recipe: Recipe, task: Task) -> Alone | None:
    """The student after all steps of the recipe without a teacher; None where nothing can train or judge it."""
    validation = _validation(task)
    if validation is None or not bool(task.splits["train"].targets.known.any()):
        return None
    training = {name: v for name, v in recipe.training.items() if not name.startswith(_OF_CHECKPOINTS)}
    own = replace(task, splits=task.splits.without(*task.splits.final_roles), teachers={}, truth=None)
    with tempfile.TemporaryDirectory() as folder:
        result = run(
            replace(
                recipe,
                method=MethodSpec("supervised"),
                teachers={},
                control="none",
                training=training | {"save_strategy": "no", "eval_strategy": "no"},
                output_dir=folder,
            ),
            task=own,
        )
    return Alone(result.metrics["validation"]["accuracy"], result.student)


def _validation(task: Task) -> Examples | None:
    """Held-out rows with labels."""
    if "validation" not in task.splits or not bool(task.splits["validation"].targets.known.any()):
        return None
    return task.splits["validation"]


def _reach(taught: Taught, task: Task) -> Reach:
    linked, live = taught.linked, taught.live
    return reach(linked.link, linked.source, task.splits["train"], ask=live, sees_student=linked.sees_student)


def _n_bags(taught: Taught | None, task: Task) -> int:
    if taught is None or not taught.linked.link.in_bags:
        return 0
    train = task.splits["train"]
    return len(taught.linked.link.second_stream(train.keys, train.targets.known))


def _outcome(
    recipe: Recipe,
    raw: Task,
    task: Task,
    name: str,
    asked: tuple[Bank | LiveTeacher, Taught | None],
    reached: Reach,
    found: Examined,
    judged: Alone | float | None,
) -> Diagnosis:
    """Everything together; ``raw`` is the task before its texts were encoded."""
    source, taught = asked
    bank = source if isinstance(source, Bank) else None
    evidence, features_t = found.evidence, teacher_features(bank)
    sides = {"student": feature_facts(found.features)}
    sides |= {} if features_t is None else {"teacher": feature_facts(features_t)}
    said = prediction_facts(reached.said) if len(reached.said) else None
    link = link_of(recipe.teacher_specs()[name], name, source, task)
    similarity = paired_cka(link, bank, task.splits["train"], found.features, reached)
    return Diagnosis(
        task=raw.name,
        teacher=name,
        link=link.name,
        method=recipe.method.name,
        expectation=evidence.expectation,
        room=evidence.room,
        alone_from=found.alone_from,
        information=evidence.link,
        pilot=evidence.pilot,
        wrong_links=evidence.wrong,
        reasons=reasons(evidence),
        helps_more=helps_more(evidence),
        warnings=[
            *leak_warnings(raw, replace(side_of(task, name), link=link), bank),
            *signal_warnings(sides, said),
            *(taught.warnings if taught else ()),
        ],
        facts=idle_facts(evidence, similarity),
        bound=student_bound(judged.student if isinstance(judged, Alone) else None, _validation(task), bank),
        features=sides,
        predictions=said,
    )
