"""``run(recipe) -> RunResult``: the one way from a recipe to a result."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from limbeck.banks.bank import Bank
from limbeck.banks.shards import file_hash
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError
from limbeck.files import write_whole
from limbeck.methods.registry import method_class
from limbeck.plan import (
    expected_of_checkpoint,
    make_student,
    make_trainer,
    needs_of,
    training_arguments,
)
from limbeck.recipes.recipe import MethodSpec, Recipe, StudentSpec, TeacherSpec, check_recipe
from limbeck.seeding import keyed_seed
from limbeck.signals.fingerprint import input_digests, settings_fingerprint
from limbeck.students import Student, model_from_spec
from limbeck.teachers import ModuleTeacher
from limbeck.teachers.text_features import embedded_texts
from limbeck.training.callbacks import ProgressBar, RunLog
from limbeck.training.checkpoints import check_checkpoint
from limbeck.training.encoding import encoded_task
from limbeck.training.processes import is_first_process, wait_for_all
from limbeck.training.sharding import whole
from limbeck.training.trainer import DistillationTrainer, EvaluationRows


@dataclass
class RunResult:
    """What a run gives.

    Args:
        scores: split to the task's metric (accuracy in [0, 1]); final splits and ``validation``.
        steps: optimiser steps.    seconds: wall time of the training.
        curve: (step, validation score) pairs.
        student: the trained student (the EMA student if there is one), in eval mode.
        task: what it was trained on.    recipe: as it was run.    folder: the run folder.
        warnings: what was warned of during the run.
        tokenizer: of a text student, for its export.
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


def run(
    recipe: Recipe,
    *,
    task: Task | None = None,
    bank: Bank | None = None,
    resume: bool = False,
    show_progress: bool = True,
) -> RunResult:
    """Train a student as ``recipe`` says, evaluate it once on the final splits, and write the run folder's
    ``recipe.yaml`` and ``log.jsonl``.

    Args:
        task, bank: in place of the recipe's data and teacher, when a comparison shares them between runs.
        resume: go on from the last checkpoint in the run folder, if there is one.
        show_progress: draw a bar on standard error.

    Raises: ConfigError, LinkError, MissingSignalError, ClassNamesError, CheckpointError before the first step;
        NonFiniteError.
    """
    check_recipe(recipe)
    folder = Path(recipe.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(recipe.training, folder, recipe.seed)
    arguments.process_index  # noqa: B018  # starts the processes' group
    checkpoint = _last_checkpoint(folder, resume)
    if checkpoint is not None:  # before a teacher is trained or a file written
        check_checkpoint(Path(checkpoint), expected_of_checkpoint(recipe, arguments))
    wait_for_all()
    task = task or make_task(recipe.data.name, recipe.data.config, seed=recipe.seed)
    task, tokenizer, n_cut = encoded_task(task, recipe.student.model, recipe.student.max_length)
    needs_teacher = bool(method_class(recipe.method.name).links)
    if needs_teacher and bank is None:
        bank = teacher_bank(recipe.teacher, task, folder)
    asked = bank
    if bank is not None and "text" in needs_of(recipe):
        bank = embedded_texts(bank, recipe.student.model, folder / "text_bank")
    if not needs_teacher and recipe.control != "none":
        raise ConfigError(
            f"Method {recipe.method.name!r} has no teacher, so it has no {recipe.control!r} control."
        )
    trainer = make_trainer(recipe, task, bank if needs_teacher else None, folder, asked=asked)
    if n_cut:
        trainer.terms.warn(
            f"{n_cut} texts were longer than {recipe.student.max_length} tokens and were cut; raise "
            "student.max_length to keep them whole."
        )
    log = RunLog(folder)
    trainer.add_callback(log)
    if show_progress:
        trainer.add_callback(ProgressBar(task.name))
    if checkpoint is not None:
        trainer.check_resume(Path(checkpoint))
    if is_first_process():
        recipe.save(folder / "recipe.yaml")
    seconds = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    seconds = time.perf_counter() - seconds
    return RunResult(
        scores=final_scores(trainer, task),
        steps=trainer.state.global_step,
        seconds=seconds,
        curve=log.entries[f"eval_{task.metric}"],
        student=whole(
            trainer.model.scored, lambda: make_student(recipe.student, task.splits["train"])
        ).eval(),
        task=task,
        recipe=recipe,
        folder=folder,
        warnings=trainer.terms.warnings,
        tokenizer=tokenizer,
    )


def final_scores(trainer: DistillationTrainer, task: Task) -> dict[str, float]:
    """The task's metric of the scored student on validation and, once and at the end, on every final split."""
    scores = {}
    if "validation" in task.splits:
        scores["validation"] = _score(trainer, task.splits["validation"], task.metric)
    with task.splits.final_evaluation() as final:
        for role in final.final_roles:
            scores[role] = _score(trainer, final[role], task.metric)
    return scores


def _score(trainer: DistillationTrainer, examples: Examples, metric: str) -> float:
    metrics = trainer.predict(EvaluationRows(examples), metric_key_prefix="final").metrics
    assert metrics is not None
    return float(metrics[f"final_{metric}"])


# ---- the teacher --------------------------------------------------------------------------------------------


TEACHER_TRAINING: dict[str, Any] = {
    "max_steps": 600,
    "n_labelled": 128,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine",
}


def teacher_bank(spec: TeacherSpec, task: Task, folder: Path) -> Bank:
    """The bank that the recipe names, or one made by asking the recipe's teacher about the linked rows.

    The teacher is trained, and asked, once: started again in the same folder with the same spec and data, its
    weights are loaded from ``teacher/`` and the bank is opened. Its accuracy by split goes to
    ``task.info["teacher_accuracy"]``.
    """
    if spec.bank is not None:
        return Bank.open(spec.bank)
    if spec.train:
        model, task.info["teacher_accuracy"] = trained_teacher(spec, task, folder / "teacher")
    else:
        torch.manual_seed(keyed_seed(spec.seed, "teacher"))
        model = model_from_spec(spec.model, n_classes=len(task.class_names), **spec.config)
    link = task.teacher_splits["link"]
    teacher = ModuleTeacher(model, class_names=link.class_names)
    if is_first_process():
        Bank.build(folder / "bank", teacher, link, batch_size=256, overwrite=True)
    wait_for_all()
    return Bank.open(folder / "bank")


def trained_teacher(spec: TeacherSpec, task: Task, folder: Path) -> tuple[nn.Module, dict[str, float]]:
    """A teacher trained on its own modality by the same loop, and its accuracy by split; loaded if it was trained
    before."""
    if "train" not in task.teacher_splits:
        raise DataError(
            "The teacher cannot be trained: no labelled rows of its own are left beside those that the link names; "
            "give it more labelled rows, or name a bank (teacher.bank)."
        )
    rows = task.teacher_splits["train"]
    digests = input_digests({**rows.inputs, "labels": rows.labels}, len(rows))
    identity = settings_fingerprint([asdict(spec), rows.class_names, digests.tobytes().hex()])
    record, weights = folder / "teacher.json", folder / "model.safetensors"
    known = _known_teacher(record, weights)
    wait_for_all()  # all have looked before any of them starts to train
    if known.get("identity") != identity:
        model, accuracy = _train_teacher(spec, task, folder)
        if is_first_process():
            save_model(model, str(weights))
            facts = {"identity": identity, "accuracy": accuracy, "sha256": file_hash(weights)}
            write_whole(record, json.dumps(facts, indent=1))
        wait_for_all()
        known = {"accuracy": accuracy}
    model = model_from_spec(spec.model, n_classes=len(rows.class_names), **spec.config)
    load_model(model, str(weights))  # the same in every process, BatchNorm's statistics included
    return model.eval(), known["accuracy"]


def _known_teacher(record: Path, weights: Path) -> dict[str, Any]:
    """What is recorded of a teacher that was trained before; nothing where record or weights are not what was
    written, so that it is trained again."""
    try:
        known = json.loads(record.read_bytes())
        return known if known["sha256"] == file_hash(weights) else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _train_teacher(spec: TeacherSpec, task: Task, folder: Path) -> tuple[nn.Module, dict[str, float]]:
    own = replace(
        task,
        name=f"{task.name} teacher",
        splits=task.teacher_splits.without("link"),
        views=task.teacher_views,
        truth=None,
        metric="accuracy",
    )
    recipe = Recipe(
        student=StudentSpec(spec.model, spec.config),
        method=MethodSpec("supervised"),
        training={**TEACHER_TRAINING, **spec.training},
        output_dir=str(folder),
        seed=spec.seed,
    )
    if is_first_process():
        (folder / "teacher.json").unlink(missing_ok=True)  # the old record does not speak for the new weights
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    wait_for_all()
    result = run(recipe, task=own)
    return result.student.model, result.scores


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
