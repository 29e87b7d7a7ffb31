"""Teachers of a recipe: a bank that is there, or a network that is trained first, as a stage of its own, and asked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from limbeck.banks.bank import Bank
from limbeck.banks.shards import file_hash
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.files import writing
from limbeck.fit import fit, prepare
from limbeck.plan import recipe_facts
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import DataSpec, MethodSpec, StudentSpec, TeacherSpec
from limbeck.recipes.stages import StageRecord, read_records, write_records
from limbeck.seeding import keyed_seed
from limbeck.signals.fingerprint import input_digests, settings_fingerprint
from limbeck.students import model_from_spec
from limbeck.students.sizing import sized_config
from limbeck.students.text import text_model_path
from limbeck.taught import side_of, task_of_teacher
from limbeck.teachers import AnswerTeacher, HFTeacher, LiveTeacher, ModuleTeacher, SeeingAnswerTeacher
from limbeck.teachers.seeing_answers import PICTURE
from limbeck.training.processes import is_first_process, wait_for_all

LOADING = ("dtype", "compile", "device", "device_map", "revision")
STAGE = "teacher"  # name and folder of the stage
TEACHER_TRAINING: dict[str, Any] = {
    "max_steps": 600,
    "n_labelled": 128,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine",
}


def teacher_of(
    spec: TeacherSpec,
    task: Task,
    folder: Path,
    name: str = "teacher",
    layers: Sequence[str] = (),
    *,
    as_found: bool = False,
) -> Bank | LiveTeacher:
    """A bank, or a live teacher, as the recipe says; arguments as :func:`teacher_bank`."""
    if spec.bank is not None and spec.live is not None:
        raise ConfigError("A teacher is a bank or live, not both; leave out one.")
    if spec.changes and spec.live != "model":
        raise ConfigError(
            "What trains inside a teacher trains in a live one; set live: model, or leave out changes."
        )
    if spec.loading and not (spec.live or "").startswith("hf:"):
        raise ConfigError(
            "loading says how a live hf:PATH comes into memory; set live: hf:PATH, or leave it out."
        )
    if spec.live is None:
        return teacher_bank(spec, task, folder, name, layers, as_found=as_found)
    link = asked_rows(spec, task, name)
    if spec.live == "model":
        return LiveTeacher(_asked(spec, task, folder, name, layers, as_found), link, view=spec.view)
    if not spec.live.startswith("hf:"):
        raise ConfigError(
            f"A live teacher is 'model' (the one named under model) or 'hf:PATH', not {spec.live!r}."
        )
    path = spec.live.removeprefix("hf:")
    if link.problem.writes:
        if spec.loading:
            raise ConfigError("A teacher that writes answers is loaded in float32; leave out loading.")
        return LiveTeacher(_of_answers(path, spec, link), link)
    if unknown := [name for name in spec.loading if name not in LOADING]:
        raise UnknownNameError(f"loading has no {unknown[0]!r}; {nearest(unknown[0], LOADING)}")
    return LiveTeacher(HFTeacher(path, **spec.loading), link, view=spec.view)


def teacher_bank(
    spec: TeacherSpec,
    task: Task,
    folder: Path,
    name: str = "teacher",
    layers: Sequence[str] = (),
    *,
    called: str = "bank",
    as_found: bool = False,
) -> Bank:
    """The bank that the recipe names, or one made by asking the recipe's teacher about the linked rows.

    Args:
        folder: the run folder.    called: the bank's folder inside it.
        layers: inner layers of the teacher whose states are asked for too.
        as_found: a network that was trained in this folder before is taken as it is, also for other data.
    """
    if spec.bank is not None:
        bank = Bank.open(spec.bank)
        if is_first_process():
            bank.verify_once()
        return bank
    link = asked_rows(spec, task, name)
    teacher = _asked(spec, task, folder, name, layers, as_found)
    if is_first_process():
        Bank.build(folder / called, teacher, link, batch_size=256, overwrite=True)
    wait_for_all()
    return Bank.open(folder / called)


def _asked(
    spec: TeacherSpec, task: Task, folder: Path, name: str, layers: Sequence[str], as_found: bool
) -> ModuleTeacher | AnswerTeacher:
    """The recipe's network, trained first where it says so."""
    link = asked_rows(spec, task, name)
    if link.problem.writes:
        return _of_answers(str(text_model_path(spec.model) or spec.model), spec, link)
    if spec.is_trained_first:
        model, task.info["teacher_accuracy"] = trained_teacher(spec, task, folder, name, as_found=as_found)
    else:
        torch.manual_seed(keyed_seed(spec.seed, "teacher"))
        config = sized_config(spec.model, spec.config, link)
        model = model_from_spec(spec.model, problem=link.problem, init=spec.init, **config)
    changes = spec.changes if spec.live is not None else ()
    return ModuleTeacher(model, class_names=link.class_names, layers=layers, changes=changes)


def _of_answers(path: str, spec: TeacherSpec, link: Examples) -> AnswerTeacher:
    """The language model of a recipe, as a teacher of answers; one that sees, where its rows have pictures.

    Raises: ConfigError for a teacher that would be trained here, or that is shown what the student is shown.
    """
    if spec.is_trained_first or spec.changes or spec.view == "same":
        raise ConfigError(
            "A teacher of answers is a language model that has been trained, and is asked with prompts of its own: set "
            "teacher.train: false and leave out changes and view: same; train one as a student of its own run first, "
            "and take 'hf:RUN/student'."
        )
    kind = SeeingAnswerTeacher if PICTURE in link.columns else AnswerTeacher
    return kind.load(path, **spec.config)


def asked_rows(spec: TeacherSpec, task: Task, name: str) -> Examples:
    """What the teacher is asked about: what the link names, or the student's own rows."""
    if spec.view == "same":
        return task.splits["train"].forgotten()
    return side_of(task, name).splits["link"]


def trained_teacher(
    spec: TeacherSpec, task: Task, folder: Path, name: str = "teacher", *, as_found: bool = False
) -> tuple[nn.Module, dict[str, float]]:
    """A network trained on the teacher's own modality, as the first stage of the chain in ``folder``; its scores by
    split.

    Trained once: as long as spec and data are the same, its weights are loaded from ``folder/teacher``; killed, it
    goes on from its last checkpoint. Otherwise it is trained anew (``as_found``: unless it was trained on any data).
    """
    recipe = teacher_recipe(spec, task, folder, name)
    weights = Path(recipe.output_dir) / "model.safetensors"
    rows = task_of_teacher(task, name).splits["train"]
    settings = {**recipe_facts(recipe), "rows": _digest(rows)}
    record = read_records(folder).get(STAGE)
    wait_for_all()  # all have looked before any of them starts to train
    is_kept = record is not None and record.state == "finished" and _is_whole(weights, record)
    if record is not None and is_kept and as_found:
        pass
    elif record is None or record.settings != settings:
        record = _train(recipe, task, folder, settings, goes_on=False)
    elif not is_kept:
        record = _train(recipe, task, folder, settings, goes_on=record.state == "running")
    model = model_from_spec(spec.model, problem=rows.problem, **sized_config(spec.model, spec.config, rows))
    load_model(model, str(weights))  # the same in every process, BatchNorm's statistics included
    return model.eval(), dict(record.facts["scores"])


def teacher_recipe(spec: TeacherSpec, task: Task, folder: Path, name: str = "teacher") -> Recipe:
    """The stage that trains the network of ``spec``: supervised, on the labelled rows of the teacher's side."""
    return Recipe(
        data=DataSpec(task.name, side=name),
        student=StudentSpec(spec.model, spec.config),
        method=MethodSpec("supervised"),
        training={**TEACHER_TRAINING, **spec.training},
        output_dir=str(folder / STAGE),
        seed=spec.seed,
    )


def _train(
    recipe: Recipe, task: Task, folder: Path, settings: dict[str, Any], *, goes_on: bool
) -> StageRecord:
    own, record = Path(recipe.output_dir), StageRecord("running", settings)
    weights = own / "model.safetensors"
    if is_first_process():
        weights.unlink(missing_ok=True)
        if not goes_on:
            shutil.rmtree(own / "checkpoints", ignore_errors=True)
        write_records(folder, {**read_records(folder), STAGE: record})
    wait_for_all()
    result = fit(prepare(recipe, task=task, resume=goes_on), {}, {})
    if is_first_process():
        with writing(weights):
            save_model(result.student.model, str(weights))
    wait_for_all()
    facts = result.facts(STAGE)
    record = replace(record, state="finished", digest=file_hash(weights), facts=facts)
    if is_first_process():
        write_records(folder, {**read_records(folder), STAGE: record})
    wait_for_all()
    return record


def _is_whole(weights: Path, record: StageRecord) -> bool:
    return weights.is_file() and file_hash(weights) == record.digest


def _digest(rows: Examples) -> str:
    digests = input_digests({**rows.all_rows(), "labels": rows.labels}, len(rows))
    return settings_fingerprint([rows.class_names, digests.tobytes().hex()])
