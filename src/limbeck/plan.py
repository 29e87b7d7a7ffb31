"""From a recipe, a task and a bank to a trainer: everything checked before the first step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.bank import Bank
from limbeck.banks.controls import random_like, shuffled, uniform_like
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError, some
from limbeck.methods.base import Widths
from limbeck.methods.registry import method_class, method_config
from limbeck.recipes.recipe import Recipe, StudentSpec
from limbeck.seeding import keyed_seed
from limbeck.signals.pairing import Pairing
from limbeck.students import Student, model_from_spec
from limbeck.students.text import text_model_path
from limbeck.training.arguments import DistillationArguments
from limbeck.training.collator import DistillationCollator, without_padding
from limbeck.training.distiller import Distiller, check_signals
from limbeck.training.encoding import problem_of
from limbeck.training.identity import bank_digest, run_settings, weights_digest, without_places
from limbeck.training.trainer import DistillationTrainer, check_link


def make_trainer(
    recipe: Recipe, task: Task, bank: Bank | None, folder: Path, *, asked: Bank | None = None
) -> DistillationTrainer:
    """Everything checked and put together, ready for ``train()``.

    Args:
        asked: the bank whose answers ``bank`` holds in another form; a checkpoint remembers it.
    """
    name, train = recipe.method.name, task.splits["train"]
    cls, config = method_class(name), method_config(name, recipe.method.config)
    pairing = task.pairing if bank is not None else Pairing("unpaired")
    reads_classes = pairing.link == "by_class" or bool(needs_of(recipe) & {"logits", "head"})
    if bank is not None:
        bank = _readable(bank, recipe, task, reads_classes)
    has_validation = "validation" in task.splits
    arguments = training_arguments(recipe.training, folder, recipe.seed, validated=has_validation)
    collate = DistillationCollator(
        train,
        pairing,
        bank,
        views=task.views,
        needs_ema=cls.needs_ema,
        signals=sorted(cls.needs - {"head"} | ({"log_probs"} if "logits" in cls.needs else set())),
        seed=recipe.seed,
    )
    check_link(name, cls.links, collate)
    torch.manual_seed(keyed_seed(recipe.seed, "student"))
    student = make_student(recipe.student, train)
    shape = student.probe(without_padding(train.rows(range(min(2, len(train))))))
    if shape.n_classes != len(train.class_names):
        raise ConfigError(f"The student has {shape.n_classes} classes, the data {len(train.class_names)}.")
    method = cls(
        config, Widths(shape.feature_width, bank.width("features") if bank else None, shape.n_classes)
    )
    has_ema = arguments.ema or cls.needs_ema
    distiller = Distiller(student, method, ema_decay=arguments.ema_decay if has_ema else None)
    validation = task.splits["validation"] if has_validation else None
    digests = {} if bank is None else {"the bank": bank_digest(asked or bank)}
    if text_model_path(recipe.student.model) is not None:  # a folder whose content may change
        digests["the student's first weights"] = weights_digest(student.state_dict())
    facts = {"settings": recipe_settings(recipe), "digests": digests}
    trainer = DistillationTrainer(
        distiller, arguments, collate, method_name=name, validation=validation, facts=facts
    )
    if bank is not None and reads_classes and bank.class_names is None:
        trainer.terms.warn(
            f"The bank {bank.name} does not name its classes; they are taken to be those of the data, in their order "
            f"({', '.join(train.class_names)})."
        )
    return trainer


def recipe_settings(recipe: Recipe) -> dict[str, Any]:
    """What a checkpoint says of its run beside the trainer's settings, as plain values; data may move."""
    settings = {
        "control": recipe.control,
        "data": without_places(asdict(recipe.data)),
        "student": without_places(asdict(recipe.student)),
    }
    if method_class(recipe.method.name).links:
        teacher = asdict(recipe.teacher)
        bank = teacher.pop("bank")
        settings["teacher"] = without_places(teacher if bank is None else {"class_map": teacher["class_map"]})
    return settings


def expected_of_checkpoint(recipe: Recipe, arguments: DistillationArguments) -> dict[str, Any]:
    """What a checkpoint of this recipe says of itself, but for what only its data and teacher tell."""
    config = asdict(method_config(recipe.method.name, recipe.method.config))
    settings = run_settings(arguments, recipe_settings(recipe))
    return {"name": recipe.method.name, "config": config, "settings": settings}


def _readable(bank: Bank, recipe: Recipe, task: Task, reads_classes: bool) -> Bank:
    """The bank as the method reads it: with the signals it needs, the student's classes, and the recipe's control."""
    name, train = recipe.method.name, task.splits["train"]
    needs = needs_of(recipe) - {"text"}  # embedded as features
    check_signals(name, needs, bank.signals, bank.access)
    if reads_classes:
        if train.targets is not None:
            raise ConfigError(
                f"Method {name!r} goes by classes, and this task predicts a value ({train.class_names[0]}); take "
                "armada, fitnets or feature_ot, with a teacher of features."
            )
        bank = bank.with_class_names(train.class_names, recipe.teacher.class_map)
    if recipe.control == "uniform" and needs != {"logits"}:
        raise ConfigError(
            f"The control 'uniform' is a teacher of class probabilities alone, and {name!r} reads its "
            f"{some(sorted(needs))}; take 'shuffled' or 'random'."
        )
    return controlled(bank, task.pairing, recipe.control, recipe.seed)


def needs_of(recipe: Recipe) -> set[str]:
    """Signals that the recipe's method reads, with the settings that it has there."""
    name = recipe.method.name
    return set(method_class(name).needs_for(method_config(name, recipe.method.config)))


def make_student(spec: StudentSpec, train: Examples) -> Student:
    """The recipe's student; for text also its problem, pooling, adapters, dtype and what is frozen."""
    problem = problem_of(train)
    if problem == "classification" and len(train.class_names) < 2:
        raise ConfigError(
            f"The task has one class ({', '.join(train.class_names)}), so there is nothing to tell apart; give rows of "
            "at least two classes."
        )
    model = model_from_spec(
        spec.model,
        n_classes=len(train.class_names),
        problem=problem,
        pooling=spec.pooling,
        lora=spec.lora,
        dtype=spec.dtype,
        freeze=spec.freeze,
        **spec.config,
    )
    return Student(model)


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


def controlled(bank: Bank, pairing: Pairing, control: str, seed: int) -> Bank:
    """The bank of a control arm."""
    if control == "shuffled":
        return shuffled(bank, pairing, seed)
    if control == "random":
        return random_like(bank, seed)
    return uniform_like(bank) if control == "uniform" else bank
