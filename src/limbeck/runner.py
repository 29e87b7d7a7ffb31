"""``run(recipe) -> RunResult``: the one way from a recipe to a result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from limbeck import moved
from limbeck.banks.bank import Bank
from limbeck.banks.folder.verifying import verifying
from limbeck.data.task import Task
from limbeck.fit import Prepared, RunResult, fit, prepare
from limbeck.plan import check_ahead
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.stages import read_records
from limbeck.students.own_model import name_of_own, own_models
from limbeck.teacher_stage import STAGE, teacher_of
from limbeck.teachers import LiveTeacher
from limbeck.teachers.text_features import embedded_texts
from limbeck.training.processes import is_first_process

__all__ = ["RunResult", "run"]


def run(
    recipe: Recipe,
    *,
    task: Task | None = None,
    bank: Bank | LiveTeacher | None = None,
    banks: Mapping[str, Bank | LiveTeacher] | None = None,
    student: nn.Module | Callable[..., nn.Module] | None = None,
    trust_code: bool = False,
    verify: bool = True,
    resume: bool = False,
    show_progress: bool = True,
) -> RunResult:
    """Train a student as ``recipe`` says, evaluate it once on the final splits, and write the run folder's
    ``recipe.yaml`` and ``log.jsonl``; a teacher that is to be trained first is a stage of its own in the run folder
    (``teacher/``, and its record in ``chain.json``).

    Args:
        task, bank: in place of the recipe's data and teacher, when a comparison shares them between runs; a live
            teacher stands where a bank does.
        banks: the same of several teachers, by name; those that are not named here are made as the recipe says.
        student: a network of one's own in place of the recipe's ``student.model``: a module, of which a copy is
            trained (``result.student``), or a function that makes one, called with ``n_classes`` where it takes it and
            with ``student.config``.
        trust_code: import models that the recipe names as ``MODULE:FACTORY``, which runs their code.
        verify: read every byte of the teachers' banks first and compare it with what was written; False spares that
            where a bank is huge (damage may then be read as what a teacher said).
        resume: go on from the last checkpoint in the run folder, if there is one.
        show_progress: draw a bar on standard error.

    Raises: ConfigError, LinkError, MissingSignalError, ClassNamesError, CheckpointError, CorruptShardError before the
        first step; NonFiniteError.
    """
    own = {} if student is None else {name_of_own(student): student}
    for name in own:
        recipe = replace(recipe, student=replace(recipe.student, model=name))
    first = next(iter(recipe.teacher_specs()))
    given = {**({} if bank is None else {first: bank}), **(banks or {})}
    with verifying(verify), own_models(trust_code=trust_code, given=own):
        for teacher in given.values():
            if isinstance(teacher, Bank) and is_first_process():
                teacher.verify_once()
        prepared = prepare(recipe, task=task, resume=resume)
        check_ahead(prepared.recipe, prepared.task, prepared.method, given)
        asked = _teachers(prepared, given) if prepared.method.declared.has_teacher else {}
        result = fit(prepared, _as_read(asked, prepared), asked, show_progress=show_progress)
    result.stages = _trained_first(prepared, asked.keys() - given.keys())
    return result


def _teachers(prepared: Prepared, given: Mapping[str, Bank | LiveTeacher]) -> dict[str, Bank | LiveTeacher]:
    """Every teacher of the recipe: given, opened, built, or live."""
    recipe, layers = prepared.recipe, prepared.method.declared.layers.teachers
    return {
        name: given[name]
        if name in given
        else teacher_of(spec, prepared.task, _own(prepared, name), name, layers.get(name, ()))
        for name, spec in recipe.teacher_specs().items()
    }


def _as_read(asked: Mapping[str, Bank | LiveTeacher], prepared: Prepared) -> dict[str, Bank | LiveTeacher]:
    """The same, with texts embedded where the method reads them so."""
    if not prepared.method.declared.text_as_features:
        return dict(asked)
    return {
        name: embedded_texts(source, prepared.recipe.student.model, _own(prepared, name) / "text_bank")
        if isinstance(source, Bank)
        else source
        for name, source in asked.items()
    }


def _own(prepared: Prepared, name: str) -> Path:
    """The folder of one teacher: the run's, unless there are several."""
    return prepared.folder / name if prepared.recipe.teachers else prepared.folder


def _trained_first(prepared: Prepared, asked: Collection[str]) -> list[dict[str, Any]]:
    """What there is to say of the teachers that were trained for this run."""
    specs = prepared.recipe.teacher_specs()
    trained = [name for name, spec in specs.items() if name in asked and spec.is_trained_first]
    return [{**read_records(_own(prepared, name))[STAGE].facts, "stage": name} for name in trained]


__getattr__ = moved.names(__name__)
