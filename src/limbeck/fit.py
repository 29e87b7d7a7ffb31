"""One training, its teachers at hand: checked, trained by the one loop, and scored once at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError
from limbeck.files import refuse_links, writing
from limbeck.methods.base import Method
from limbeck.methods.registry import MethodPlan, plan_method
from limbeck.plan import expected_of_checkpoint, make_student, make_trainer, training_arguments
from limbeck.recipes.recipe import Recipe, check_recipe
from limbeck.recipes.stages import stage_facts
from limbeck.students import Student
from limbeck.students.own_model import check_trusted
from limbeck.taught import task_of_teacher
from limbeck.teachers import LiveTeacher
from limbeck.training.callbacks import ProgressBar, RunLog, tensorboard_in
from limbeck.training.checkpoints import check_checkpoint
from limbeck.training.encoding import encoded_task
from limbeck.training.processes import is_first_process, wait_for_all
from limbeck.training.sharding import whole
from limbeck.training.trainer import DistillationTrainer, EvaluationRows


@dataclass
class RunResult:
    """What a run gives.

    Args:
        scores: split to the metric that decides (accuracy in [0, 1]); final splits and ``validation``.
        metrics: split to all metrics by name.    links: teacher to the name of its link.
        steps: optimiser steps.    seconds: wall time of the training.
        curve: (step, validation score) pairs.
        student: the trained student (the EMA student if there is one), in eval mode.
        task: what it was trained on.    recipe: as it was run.    folder: the run folder.
        warnings: what was warned of during the run.
        tokenizer: of a text student, for its export.
        statistics: split to what the problem keeps of each of its rows, in their order (:meth:`Problem.statistics`).
        method: with its trained parts.
        stages: what was trained before it, in order (see :func:`limbeck.recipes.stages.stage_facts`).
    """

    scores: dict[str, float]
    steps: int
    seconds: float
    curve: list[tuple[int, float]]
    student: Student
    task: Task
    recipe: Recipe
    folder: Path
    warnings: list[str] = field(default_factory=list)
    tokenizer: Any = None
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    statistics: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    method: Method | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)

    def facts(self, stage: str, uses: Mapping[str, str] | None = None) -> dict[str, Any]:
        """This run as a stage of a chain."""
        return stage_facts(
            stage,
            method=self.recipe.method.name,
            data=self.task.name,
            metric=self.task.problem.metric.name,
            scores=self.scores,
            steps=self.steps,
            seconds=self.seconds,
            uses=uses,
        )


@dataclass(frozen=True)
class Prepared:
    """A run before its teachers.

    Args:
        task: with the student's texts encoded by ``tokenizer``, and what is to be told of that.
        method: as this run uses it.    checkpoint: where it goes on from, None from the first step.
    """

    recipe: Recipe
    folder: Path
    task: Task
    method: MethodPlan
    checkpoint: str | None
    tokenizer: Any
    told: tuple[str, ...]


def prepare(recipe: Recipe, *, task: Task | None = None, resume: bool = False) -> Prepared:
    """Check a recipe and the checkpoint that it goes on from, and make its task; no file is written.

    Args:
        task: in place of the recipe's data.    resume: go on from the last checkpoint, if there is one.

    Raises: ConfigError, CheckpointError, DataError.
    """
    check_recipe(recipe)
    for model in (recipe.student.model, *(spec.model for spec in recipe.teacher_specs().values())):
        check_trusted(model)
    folder = Path(recipe.output_dir)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder / "checkpoints")
    arguments = training_arguments(recipe.training, folder, recipe.seed)
    arguments.process_index  # noqa: B018  # starts the processes' group
    checkpoint = _last_checkpoint(folder, resume)
    method = plan_method(recipe.method.name, recipe.method.config)
    if checkpoint is not None:  # before a teacher is trained or a file written
        check_checkpoint(Path(checkpoint), expected_of_checkpoint(recipe, method, arguments))
    wait_for_all()
    task = task or make_task(recipe.data.name, recipe.data.config, seed=recipe.seed)
    if recipe.data.side is not None:
        task = task_of_teacher(task, recipe.data.side)
    task, tokenizer, told = encoded_task(task, recipe.student.model, recipe.student.max_length)
    if not method.declared.has_teacher and recipe.control != "none":
        raise ConfigError(f"Method {method.name!r} has no teacher, so it has no {recipe.control!r} control.")
    return Prepared(recipe, folder, task, method, checkpoint, tokenizer, told)


def fit(
    prepared: Prepared,
    teachers: Mapping[str, Bank | LiveTeacher],
    asked: Mapping[str, Bank | LiveTeacher],
    *,
    show_progress: bool = True,
) -> RunResult:
    """Train, score, and write the run folder's ``recipe.yaml`` and ``log.jsonl``.

    Args:
        teachers: by name, as the method reads them.    asked: the same as they were asked.
        show_progress: draw a bar on standard error.
    """
    recipe, folder, task, checkpoint = prepared.recipe, prepared.folder, prepared.task, prepared.checkpoint
    trainer = make_trainer(recipe, task, teachers, folder, method=prepared.method, asked=asked)
    for sentence in prepared.told:
        trainer.terms.warn(sentence)
    log = RunLog(folder)
    trainer.add_callback(log)
    tensorboard_in(folder, trainer.callback_handler.callbacks)
    if show_progress:
        trainer.add_callback(ProgressBar(task.name))
    if checkpoint is not None:
        trainer.check_resume(Path(checkpoint))
    if is_first_process():
        recipe.save(folder / "recipe.yaml")
    seconds = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    seconds = time.perf_counter() - seconds
    statistics = final_statistics(trainer, task)
    metrics = {split: task.problem.scores(kept) for split, kept in statistics.items()}
    return RunResult(
        scores={split: values[task.problem.metric.name] for split, values in metrics.items()},
        metrics=metrics,
        statistics=statistics,
        method=trainer.model.method,
        links={name: teacher.link.name for name, teacher in trainer.collate.teachers.items()},
        steps=trainer.state.global_step,
        seconds=seconds,
        curve=log.entries[f"eval_{task.problem.metric.name}"],
        student=whole(
            trainer.model.scored, lambda: make_student(recipe.student, task.splits["train"])
        ).eval(),
        task=task,
        recipe=recipe,
        folder=folder,
        warnings=trainer.terms.warnings,
        tokenizer=prepared.tokenizer,
    )


def final_statistics(trainer: DistillationTrainer, task: Task) -> dict[str, dict[str, Tensor]]:
    """What the problem keeps of each row under the scored student, on validation and, once and at the end, on every
    final split."""
    found = {}
    if "validation" in task.splits:
        found["validation"] = _statistics(trainer, task.splits["validation"])
    with task.splits.final_evaluation() as final:
        for role in final.final_roles:
            found[role] = _statistics(trainer, final[role])
    return found


def _statistics(trainer: DistillationTrainer, examples: Examples) -> dict[str, Tensor]:
    found = trainer.predict(EvaluationRows(examples), metric_key_prefix="final").predictions
    assert isinstance(found, dict)
    return {name: torch.from_numpy(value) for name, value in found.items()}


def _last_checkpoint(folder: Path, resume: bool) -> str | None:
    """Where to go on from; ConfigError for checkpoints that a run from the start would mix its own with."""
    from transformers.trainer_utils import get_last_checkpoint

    checkpoints = folder / "checkpoints"
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    if last is not None and not resume:
        raise ConfigError(
            f"{checkpoints} holds checkpoints of an earlier run; pass --resume (resume=True) to go on from the last, "
            "or delete them, or name another output_dir."
        )
    return last
