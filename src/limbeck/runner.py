"""``run(recipe) -> RunResult``: the one way from a recipe to a result."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from limbeck.banks.bank import Bank
from limbeck.banks.shards import file_hash
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task, TeacherSide
from limbeck.errors import ConfigError, DataError
from limbeck.files import write_whole
from limbeck.methods.base import Method
from limbeck.methods.registry import MethodPlan, plan_method
from limbeck.plan import expected_of_checkpoint, make_student, make_trainer, training_arguments
from limbeck.recipes.recipe import MethodSpec, Recipe, StudentSpec, TeacherSpec, check_recipe
from limbeck.seeding import keyed_seed
from limbeck.signals.fingerprint import input_digests, settings_fingerprint
from limbeck.students import Student, model_from_spec
from limbeck.taught import side_of
from limbeck.teachers import HFTeacher, LiveTeacher, ModuleTeacher
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


def run(
    recipe: Recipe,
    *,
    task: Task | None = None,
    bank: Bank | LiveTeacher | None = None,
    banks: Mapping[str, Bank | LiveTeacher] | None = None,
    resume: bool = False,
    show_progress: bool = True,
) -> RunResult:
    """Train a student as ``recipe`` says, evaluate it once on the final splits, and write the run folder's
    ``recipe.yaml`` and ``log.jsonl``.

    Args:
        task, bank: in place of the recipe's data and teacher, when a comparison shares them between runs; a live
            teacher stands where a bank does.
        banks: the same of several teachers, by name; those that are not named here are made as the recipe says.
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
    method = plan_method(recipe.method.name, recipe.method.config)
    if checkpoint is not None:  # before a teacher is trained or a file written
        check_checkpoint(Path(checkpoint), expected_of_checkpoint(recipe, method, arguments))
    wait_for_all()
    task = task or make_task(recipe.data.name, recipe.data.config, seed=recipe.seed)
    task, tokenizer, n_cut = encoded_task(task, recipe.student.model, recipe.student.max_length)
    if not method.declared.has_teacher and recipe.control != "none":
        raise ConfigError(f"Method {method.name!r} has no teacher, so it has no {recipe.control!r} control.")
    given = {**({} if bank is None else {next(iter(recipe.teacher_specs())): bank}), **(banks or {})}
    asked = _teachers(recipe, task, folder, given) if method.declared.has_teacher else {}
    teachers = _as_read(asked, recipe, folder, method)
    trainer = make_trainer(recipe, task, teachers, folder, method=method, asked=asked)
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
        tokenizer=tokenizer,
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


# ---- teachers ---------------------------------------------------------------------------------------------


TEACHER_TRAINING: dict[str, Any] = {
    "max_steps": 600,
    "n_labelled": 128,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine",
}


def _teachers(
    recipe: Recipe, task: Task, folder: Path, given: Mapping[str, Bank | LiveTeacher]
) -> dict[str, Bank | LiveTeacher]:
    """Every teacher of the recipe: given, opened, built, or live."""
    return {
        name: given[name] if name in given else teacher_of(spec, task, _own(recipe, folder, name), name)
        for name, spec in recipe.teacher_specs().items()
    }


def _as_read(
    asked: Mapping[str, Bank | LiveTeacher], recipe: Recipe, folder: Path, method: MethodPlan
) -> dict[str, Bank | LiveTeacher]:
    """The same, with texts embedded where the method reads them so."""
    if not method.declared.text_as_features:
        return dict(asked)
    return {
        name: embedded_texts(source, recipe.student.model, _own(recipe, folder, name) / "text_bank")
        if isinstance(source, Bank)
        else source
        for name, source in asked.items()
    }


def _own(recipe: Recipe, folder: Path, name: str) -> Path:
    """The folder of one teacher: the run's, unless there are several."""
    return folder / name if recipe.teachers else folder


def teacher_of(
    spec: TeacherSpec, task: Task, folder: Path, name: str = "teacher", *, as_found: bool = False
) -> Bank | LiveTeacher:
    """A bank, or a live teacher, as the recipe says.

    Args:
        as_found: a network that was trained in this folder before is taken as it is, also for other data.
    """
    if spec.bank is not None and spec.live is not None:
        raise ConfigError("A teacher is a bank or live, not both; leave out one.")
    if spec.live is None:
        return teacher_bank(spec, task, folder, name, as_found=as_found)
    link = side_of(task, name).splits["link"]
    if spec.live == "model":
        net = _model(spec, task, folder, name, as_found)
        model = ModuleTeacher(net, class_names=link.class_names)
        return LiveTeacher(model, link, view=spec.view)
    if not spec.live.startswith("hf:"):
        raise ConfigError(
            f"A live teacher is 'model' (the one named under model) or 'hf:PATH', not {spec.live!r}."
        )
    return LiveTeacher(HFTeacher(spec.live.removeprefix("hf:")), link, view=spec.view)


def teacher_bank(
    spec: TeacherSpec,
    task: Task,
    folder: Path,
    name: str = "teacher",
    *,
    called: str = "bank",
    as_found: bool = False,
) -> Bank:
    """The bank that the recipe names, or one made by asking the recipe's teacher about the linked rows.

    The teacher is trained, and asked, once: started again in the same folder with the same spec and data, its
    weights are loaded from ``teacher/`` and the bank is opened. Its scores by split go to
    ``task.info["teacher_accuracy"]``.

    Args:
        called: the bank's folder inside ``folder``.    as_found: see :func:`teacher_of`.
    """
    if spec.bank is not None:
        return Bank.open(spec.bank)
    link = side_of(task, name).splits["link"]
    net = _model(spec, task, folder, name, as_found)
    teacher = ModuleTeacher(net, class_names=link.class_names)
    if is_first_process():
        Bank.build(folder / called, teacher, link, batch_size=256, overwrite=True)
    wait_for_all()
    return Bank.open(folder / called)


def _model(spec: TeacherSpec, task: Task, folder: Path, name: str, as_found: bool) -> nn.Module:
    """The recipe's network, trained first where it says so."""
    link = side_of(task, name).splits["link"]
    if spec.train:
        model, task.info["teacher_accuracy"] = trained_teacher(
            spec, task, folder / "teacher", name, as_found=as_found
        )
        return model
    torch.manual_seed(keyed_seed(spec.seed, "teacher"))
    return model_from_spec(spec.model, problem=link.problem, **spec.config)


def trained_teacher(
    spec: TeacherSpec, task: Task, folder: Path, name: str = "teacher", *, as_found: bool = False
) -> tuple[nn.Module, dict[str, float]]:
    """A teacher trained on its own modality by the same loop, and its score by split; loaded if it was trained
    before, on these data or (``as_found``) on any."""
    side = side_of(task, name)
    if "train" not in side.splits:
        raise DataError(
            "The teacher cannot be trained: no labelled rows of its own are left beside those that the link names; "
            "give it more labelled rows, or name a bank (teacher.bank)."
        )
    rows = side.splits["train"]
    digests = input_digests({**rows.all_rows(), "labels": rows.labels}, len(rows))
    identity = settings_fingerprint([asdict(spec), rows.class_names, digests.tobytes().hex()])
    record, weights = folder / "teacher.json", folder / "model.safetensors"
    known = _known_teacher(record, weights)
    wait_for_all()  # all have looked before any of them starts to train
    if known.get("identity") != identity and not (as_found and known):
        model, accuracy = _train_teacher(spec, task, side, folder)
        if is_first_process():
            save_model(model, str(weights))
            facts = {"identity": identity, "accuracy": accuracy, "sha256": file_hash(weights)}
            write_whole(record, json.dumps(facts, indent=1))
        wait_for_all()
        known = {"accuracy": accuracy}
    model = model_from_spec(spec.model, problem=rows.problem, **spec.config)
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


def _train_teacher(
    spec: TeacherSpec, task: Task, side: TeacherSide, folder: Path
) -> tuple[nn.Module, dict[str, float]]:
    own = replace(
        task,
        name=f"{task.name} teacher",
        splits=side.splits.without("link"),
        teachers={},
        views=side.views,
        truth=None,
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
