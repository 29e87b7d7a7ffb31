"""From a recipe, a task and its teachers to a trainer: everything checked before the first step."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError, LimbeckError, first_line
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.parts import parts_in, start_parts
from limbeck.methods.registry import MethodPlan, plan_method
from limbeck.methods.settings import config_told
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import PeerSpec, StudentSpec, TeacherSpec
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import join_class_names
from limbeck.students import Student, model_from_spec
from limbeck.students.own_model import told_by_line
from limbeck.students.sizing import sized_config
from limbeck.students.specs import ENCODERS
from limbeck.students.text import text_model_path
from limbeck.taught import readable, side_of
from limbeck.teachers.live import LiveTeacher
from limbeck.training.arguments import DistillationArguments
from limbeck.training.collator import DistillationCollator, without_padding
from limbeck.training.distiller import Distiller
from limbeck.training.identity import (
    bank_digest,
    flat,
    of_teacher,
    run_settings,
    weights_digest,
    without_places,
)
from limbeck.training.peers import check_scored
from limbeck.training.streams import check_links
from limbeck.training.trainer import DistillationTrainer, check_best_metric


def make_trainer(
    recipe: Recipe,
    task: Task,
    teachers: Mapping[str, Bank | LiveTeacher],
    folder: Path,
    *,
    method: MethodPlan | None = None,
    asked: Mapping[str, Bank | LiveTeacher] | None = None,
) -> DistillationTrainer:
    """Everything checked and put together, ready for ``train()``.

    Args:
        teachers: name to a bank or a live teacher; none for a method without a teacher.
        method: the recipe's, where it has been resolved already.
        asked: name to the bank whose answers the one among ``teachers`` holds in another form; a checkpoint
            remembers it.
    """
    plan, train = method or plan_method(recipe.method.name, recipe.method.config), task.splits["train"]
    _check_problem(plan, train)
    taught = {name: readable(source, name, recipe, task, plan) for name, source in teachers.items()}
    averages = {name: spec.follows for name, spec in recipe.peers.items() if spec.follows is not None}
    has_validation = "validation" in task.splits
    arguments = training_arguments(recipe.training, folder, recipe.seed, validated=has_validation)
    collate = DistillationCollator(
        train,
        {name: teacher.linked for name, teacher in taught.items()},
        views=task.views,
        needs_weak=any(name == "ema" or name in averages for name in plan.declared.peers),
        seed=recipe.seed,
    )
    check_links(plan.name, plan.declared, collate)
    torch.manual_seed(keyed_seed(recipe.seed, "student"))
    student = make_student(recipe.student, train)
    fellows = {
        name: make_fellow(name, spec, recipe, train)
        for name, spec in recipe.peers.items()
        if spec.follows is None
    }
    with told_by_line(recipe.student.model):
        side = student_side(student, train, plan)
    shapes = Shapes(
        side,
        {name: teacher.side for name, teacher in taught.items()},
        {name: student_side(fellow, train) for name, fellow in fellows.items()},
    )
    distiller = Distiller(
        student,
        plan.cls(plan.config, shapes),
        problem=train.problem,
        ema_decay=arguments.ema_decay
        if arguments.ema or "ema" in plan.declared.peers - set(averages)
        else None,
        averages=averages,
        fellows=fellows,
        scores=arguments.scores,
        live={name: teacher.live for name, teacher in taught.items() if teacher.live is not None},
        layers={name: teacher.layers for name, teacher in taught.items()},
    )
    if recipe.method.init is not None:
        start_parts(distiller.method, recipe.method.init)
    validation = task.splits["validation"] if has_validation else None
    trainer = DistillationTrainer(
        distiller,
        arguments,
        collate,
        method_name=plan.name,
        validation=validation,
        facts=_facts(recipe, plan, student, {**teachers, **(asked or {})}),
    )
    for teacher in taught.values():
        for sentence in teacher.warnings:
            trainer.terms.warn(sentence)
    return trainer


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
    _check_problem(plan, train)
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


def _facts(
    recipe: Recipe, plan: MethodPlan, student: Student, asked: Mapping[str, Bank | LiveTeacher]
) -> dict[str, dict[str, Any]]:
    """What a checkpoint says of its run beside the trainer's own."""
    digests = {
        of_teacher("the bank", name, asked): bank_digest(bank)
        for name, bank in asked.items()
        if isinstance(bank, Bank)
    }
    # Of a folder whose content may change.
    if recipe.student.init is not None or text_model_path(recipe.student.model) is not None:
        digests["the student's first weights"] = weights_digest(student.state_dict())
    if recipe.method.init is not None:
        digests["the method's first parts"] = weights_digest(parts_in(recipe.method.init))
    return {"settings": recipe_settings(recipe, plan), "digests": digests}


def recipe_settings(recipe: Recipe, plan: MethodPlan) -> dict[str, Any]:
    """What a checkpoint says of its run beside the trainer's settings, as plain values; data may move."""
    settings = {
        "control": recipe.control,
        "data": _told(recipe.data),
        "student": _told(recipe.student),
        **({"peers": {name: _told(peer) for name, peer in recipe.peers.items()}} if recipe.peers else {}),
    }
    if plan.declared.has_teacher:
        specs = recipe.teacher_specs()
        for name, spec in specs.items():
            told = _told(spec)
            if told.pop("bank") is not None:
                told = {"class_map": told["class_map"], "link": told["link"]}
            settings["teacher" if len(specs) == 1 else f"teachers.{name}"] = told
    return settings


def _told(spec: Any) -> dict[str, Any]:
    """A part of a recipe as a checkpoint tells it; what is later than the first checkpoints counts where it is set."""
    values = without_places(asdict(spec))
    return {name: value for name, value in values.items() if name not in ("init", "side", "changes") or value}


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """All of a recipe that decides its result, as plain values by dotted name; what decides nothing (folders, logging,
    saving, the number of processes) is not in it.

    Raises: ConfigError for settings that the trainer does not take.
    """
    plan = plan_method(recipe.method.name, recipe.method.config)
    arguments = training_arguments(recipe.training, Path(recipe.output_dir), recipe.seed)
    facts = expected_of_checkpoint(recipe, plan, arguments)
    method = {"name": facts["name"], "config": facts["config"]}
    settings = flat({"method": method, **facts["settings"], "training.max_steps": arguments.max_steps})
    settings.pop("processes")
    return settings


def expected_of_checkpoint(
    recipe: Recipe, plan: MethodPlan, arguments: DistillationArguments
) -> dict[str, Any]:
    """What a checkpoint of this recipe says of itself, but for what only its data and teacher tell."""
    settings = run_settings(arguments, recipe_settings(recipe, plan))
    return {"name": plan.name, "config": config_told(plan.config), "settings": settings}


def _check_problem(plan: MethodPlan, train: Examples) -> None:
    """Refuse a method for a problem that it does not claim, or that has no label loss where it has nothing else."""
    problem, claimed = train.problem, plan.declared.problems
    if not problem.has_label_loss and set(plan.declared.units.values()) == {"labelled"}:
        raise ConfigError(
            f"Labels teach nothing in the problem {problem.kind}, and the method {plan.name!r} has no other term; take "
            "one that is for it, as 'denoise' is for denoising."
        )
    if problem.reading == "positions" and "features" in plan.declared.needs and problem.kind not in claimed:
        raise ConfigError(
            f"Method {plan.name!r} compares one vector of a row, and the student of a {problem.kind} shows one at "
            "every position; take a method of its outputs (kd, divergence), or one that names this problem."
        )
    if claimed and problem.kind not in claimed:
        what = "goes by classes, and this task predicts" if not problem.is_distribution else "is not for"
        raise ConfigError(
            f"Method {plan.name!r} {what} {problem.kind} ({', '.join(problem.names[:3])}); it is for "
            f"{', '.join(sorted(claimed))}. Methods of features (armada, fitnets, feature_ot) are for any."
        )


def student_side(student: Student, train: Examples, plan: MethodPlan | None = None) -> Side:
    """Sizes of the student, by one forward of two rows.

    Raises: ConfigError for a model that cannot read the rows, and for a head of another width than the problem asks
    for.
    """
    inputs = without_padding(train.rows(range(min(2, len(train)))))
    try:
        shape = student.probe(inputs, () if plan is None else plan.declared.layers.student)
    except (LimbeckError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # a model raises what it likes
        raise ConfigError(_cannot_read(student, inputs, error)) from error
    wanted = train.problem.n_outputs()
    if wanted is not None and shape.n_classes != wanted:
        raise ConfigError(f"The student has {shape.n_classes} outputs, the data ask for {wanted}.")
    return Side(
        shape.feature_width,
        shape.n_classes,
        {name: size[1:] for name, size in shape.hidden.items()},
        {name: tuple(value.shape[1:]) for name, value in inputs.items()},
    )


def _cannot_read(student: Student, inputs: Mapping[str, torch.Tensor], error: Exception) -> str:
    """What to say of a model whose channels or sizes are not those of the rows."""
    rows = ", ".join(f"{name} {list(value.shape[1:])}" for name, value in inputs.items())
    reason = first_line(error)
    return (
        f"The model {type(student.model).__name__} cannot read the rows, which are {rows} each ({reason}); set what it "
        "reads in student.config (teacher.config), such as in_channels or image_size, or what the rows are in "
        "data.config, such as channels or size."
    )


def make_fellow(name: str, spec: PeerSpec, recipe: Recipe, train: Examples) -> Student:
    """A student that learns beside the student; its weights are drawn from the seed and its name."""
    assert spec.model is not None, "check_recipe has looked"
    torch.manual_seed(keyed_seed(recipe.seed, "peer", name))
    own = StudentSpec(spec.model, spec.config, max_length=recipe.student.max_length, freeze=spec.freeze)
    return make_student(own, train)


def make_student(spec: StudentSpec, train: Examples) -> Student:
    """The recipe's student; for text also its pooling, adapters, dtype and what is frozen."""
    problem = train.problem
    if problem.is_distribution and len(problem.names) < 2:
        raise ConfigError(
            f"The task has one class ({', '.join(problem.names)}), so there is nothing to tell apart; give rows of "
            "at least two classes."
        )
    model = model_from_spec(
        spec.model,
        problem=problem,
        pooling=spec.pooling,
        lora=spec.lora,
        dtype=spec.dtype,
        freeze=spec.freeze,
        init=spec.init,
        **sized_config(spec.model, spec.config, train),
    )
    return Student(model, reading=problem.reading)


def training_arguments(
    values: Mapping[str, Any], folder: Path, seed: int, *, validated: bool = True
) -> DistillationArguments:
    """The trainer's arguments; validation, where there is a split for it, is scored about ten times, unless the
    recipe says otherwise."""
    settings = dict(values)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        settings.pop("ddp_backend", None)  # a recipe for several processes also runs in one
    steps = settings.get("max_steps", DistillationArguments.max_steps)
    settings.setdefault("eval_strategy", "steps" if validated else "no")
    if settings["eval_strategy"] == "steps":
        settings.setdefault("eval_steps", max(1, steps // 10))
    settings.setdefault("per_device_eval_batch_size", 256)
    settings.setdefault("run_name", str(folder))
    return DistillationArguments(output_dir=str(folder / "checkpoints"), seed=seed, **settings)
