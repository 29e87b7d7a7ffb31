"""``run(recipe) -> RunResult``: the one way from a recipe to a result."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from limbeck.data import make_task
from limbeck.data.base import Examples, Task
from limbeck.errors import ConfigError, DataError, some
from limbeck.files import write_whole
from limbeck.methods.base import Widths
from limbeck.methods.registry import method_class, method_config
from limbeck.recipes.recipe import MethodSpec, Recipe, StudentSpec, TeacherSpec, check_recipe
from limbeck.seeding import keyed_seed
from limbeck.signals.bank import Bank
from limbeck.signals.fingerprint import input_digests, settings_fingerprint
from limbeck.signals.pairing import Pairing, random_like, shuffled, uniform_like
from limbeck.students import Student, model_from_spec
from limbeck.teachers import ModuleTeacher
from limbeck.teachers.text_features import embedded_texts
from limbeck.training.arguments import DistillationArguments
from limbeck.training.callbacks import ProgressBar, RunLog
from limbeck.training.collator import DistillationCollator, without_padding
from limbeck.training.distiller import Distiller, check_signals
from limbeck.training.processes import is_first_process, wait_for_all
from limbeck.training.sharding import whole
from limbeck.training.texts import encoded_task, problem_of
from limbeck.training.trainer import DistillationTrainer, EvaluationRows, check_link


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

    Raises: ConfigError, LinkError, MissingSignalError, ClassNamesError before the first step; NonFiniteError.
    """
    check_recipe(recipe)
    folder = Path(recipe.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    training_arguments(recipe.training, folder, recipe.seed).process_index  # noqa: B018  # starts the processes' group
    checkpoint = _last_checkpoint(folder, resume)
    wait_for_all()
    task = task or make_task(recipe.data.name, recipe.data.config, seed=recipe.seed)
    task, tokenizer, n_cut = encoded_task(task, recipe.student.model, recipe.student.max_length)
    needs_teacher = bool(method_class(recipe.method.name).links)
    if needs_teacher and bank is None:
        bank = teacher_bank(recipe.teacher, task, folder)
    if bank is not None and "text" in _needs(recipe):
        bank = embedded_texts(bank, recipe.student.model, folder / "text_bank")
    if not needs_teacher and recipe.control != "none":
        raise ConfigError(
            f"Method {recipe.method.name!r} has no teacher, so it has no {recipe.control!r} control."
        )
    trainer = make_trainer(recipe, task, bank if needs_teacher else None, folder)
    if n_cut:
        trainer.terms.warn(
            f"{n_cut} texts were longer than {recipe.student.max_length} tokens and were cut; raise "
            "student.max_length to keep them whole."
        )
    log = RunLog(folder)
    trainer.add_callback(log)
    if show_progress:
        trainer.add_callback(ProgressBar(task.name))
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
        student=whole(trainer.model.scored, lambda: _student(recipe.student, task.splits["train"])).eval(),
        task=task,
        recipe=recipe,
        folder=folder,
        warnings=trainer.terms.warnings,
        tokenizer=tokenizer,
    )


def make_trainer(recipe: Recipe, task: Task, bank: Bank | None, folder: Path) -> DistillationTrainer:
    """Everything checked and put together, ready for ``train()``."""
    name, train = recipe.method.name, task.splits["train"]
    cls, config = method_class(name), method_config(name, recipe.method.config)
    pairing = task.pairing if bank is not None else Pairing("unpaired")
    reads_classes = False
    if bank is not None:
        needs = _needs(recipe) - {"text"}  # embedded as features
        check_signals(name, needs, bank.signals, bank.access)
        reads_classes = bool(needs & {"logits", "head"}) or pairing.link == "by_class"
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
        bank = controlled(bank, pairing, recipe.control, recipe.seed)
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
    student = _student(recipe.student, train)
    shape = student.probe(without_padding(train.rows(range(min(2, len(train))))))
    if shape.n_classes != len(train.class_names):
        raise ConfigError(f"The student has {shape.n_classes} classes, the data {len(train.class_names)}.")
    method = cls(
        config, Widths(shape.feature_width, bank.width("features") if bank else None, shape.n_classes)
    )
    has_ema = arguments.ema or cls.needs_ema
    distiller = Distiller(student, method, ema_decay=arguments.ema_decay if has_ema else None)
    validation = task.splits["validation"] if has_validation else None
    trainer = DistillationTrainer(distiller, arguments, collate, method_name=name, validation=validation)
    if bank is not None and reads_classes and bank.class_names is None:
        trainer.terms.warn(
            f"The bank {bank.name} does not name its classes; they are taken to be those of the data, in their order "
            f"({', '.join(train.class_names)})."
        )
    return trainer


def _needs(recipe: Recipe) -> set[str]:
    """Signals that the recipe's method reads, with the settings that it has there."""
    name = recipe.method.name
    return set(method_class(name).needs_for(method_config(name, recipe.method.config)))


def _student(spec: StudentSpec, train: Examples) -> Student:
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
    settings.setdefault("eval_steps", max(1, steps // 10))
    settings.setdefault("per_device_eval_batch_size", 256)
    return DistillationArguments(output_dir=str(folder / "checkpoints"), seed=seed, **settings)


def controlled(bank: Bank, pairing: Pairing, control: str, seed: int) -> Bank:
    """The bank of a control arm."""
    if control == "shuffled":
        return shuffled(bank, pairing, seed)
    if control == "random":
        return random_like(bank, seed)
    return uniform_like(bank) if control == "uniform" else bank


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
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    wait_for_all()  # all have looked before any of them starts to train
    if known.get("identity") != identity or not weights.is_file():
        model, accuracy = _train_teacher(spec, task, folder)
        if is_first_process():
            save_model(model, str(weights))
            write_whole(record, json.dumps({"identity": identity, "accuracy": accuracy}, indent=1))
        wait_for_all()
        known = {"accuracy": accuracy}
    model = model_from_spec(spec.model, n_classes=len(rows.class_names), **spec.config)
    load_model(model, str(weights))  # the same in every process, BatchNorm's statistics included
    return model.eval(), known["accuracy"]


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
