"""One run with everything a user keeps of it: results, report, and the student alone."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn import functional

from limbeck import __version__
from limbeck.data.base import Examples, Inputs
from limbeck.errors import ConfigError, LimbeckError
from limbeck.evaluation.results import METRICS_FILE, Row, write_metrics
from limbeck.files import only_writer, refuse_links, usable_name
from limbeck.fit import RunResult
from limbeck.methods.parts import save_parts
from limbeck.methods.registry import plan_method
from limbeck.plan import recipe_facts
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import TeacherSpec
from limbeck.recipes.stages import differences
from limbeck.reporting import report_folder
from limbeck.runner import run
from limbeck.students.export.card import check_card
from limbeck.students.export.folder import export_student
from limbeck.students.export.swapping import clear_killed
from limbeck.training.arguments import DistillationArguments
from limbeck.training.collator import without_padding
from limbeck.training.processes import is_first_process, wait_for_all

STUDENT_FOLDER = "student"
N_SAVES = 10  # checkpoints over a run whose recipe says nothing of saving


def distill(
    recipe: Recipe,
    *,
    student: nn.Module | Callable[..., nn.Module] | None = None,
    trust_code: bool = False,
    verify: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    stage: str = "student",
    before: Sequence[Mapping[str, Any]] = (),
) -> RunResult:
    """Run ``recipe`` and write ``metrics.json``, ``student/`` and ``report.html`` into its run folder.

    The student folder holds weights, preprocessor, class names and a model card with provenance; no teacher, no
    projector: the method's own parts lie beside it, in ``method.safetensors``, for a later stage to start from. A
    recipe that says nothing of checkpoints leaves them until the run is done, so that one that is interrupted can go
    on.

    Args:
        student, trust_code: a network of one's own, see :func:`limbeck.runner.run`.
        verify: read every byte of banks first, see there.
        resume: go on from the last checkpoint in the run folder, if there is one.
        overwrite: write over the results and checkpoints of another run in that folder.
        stage: what this run is called as a stage of a chain.    before: facts of the stages that led to it.

    Raises: ConfigError for a run folder that holds the results of another recipe, in which another run is writing, or
        which holds links; and see :func:`limbeck.runner.run`.
    """
    check_card(recipe.card)
    with _one_run(recipe):
        return _distilled(recipe, student, trust_code, verify, resume, overwrite, stage, before)


@contextmanager
def _one_run(recipe: Recipe) -> Iterator[None]:
    """The run folder is this run's alone; a second one is told. Of several processes the first keeps others out."""
    usable_name(recipe.output_dir, "output_dir")
    if not is_first_process():
        yield
        return
    folder = Path(recipe.output_dir)
    with only_writer(folder, "run"):
        refuse_links(*folder.iterdir())
        clear_killed(folder / STUDENT_FOLDER)
        yield


def _distilled(
    recipe: Recipe,
    student: nn.Module | Callable[..., nn.Module] | None,
    trust_code: bool,
    verify: bool,
    resume: bool,
    overwrite: bool,
    stage: str,
    before: Sequence[Mapping[str, Any]],
) -> RunResult:
    folder = Path(recipe.output_dir)
    goes_on = resume and any(folder.glob("checkpoints/checkpoint-*"))
    if overwrite and not goes_on and is_first_process():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    elif not overwrite and not goes_on:
        _check_folder(folder, recipe)
    wait_for_all()
    result = run(saved(recipe), student=student, trust_code=trust_code, verify=verify, resume=resume)
    recipe = result.recipe = replace(result.recipe, training=recipe.training)
    result.stages = [*map(dict, before), *result.stages]
    if not is_first_process():
        return result
    write_metrics(result.folder, result_rows(result, arm=recipe.method.name), _info(recipe, result, stage))
    train = result.task.splits["train"]
    if result.method is not None:
        save_parts(result.method, result.folder)
    export_student(
        result.student,
        result.folder / STUDENT_FOLDER,
        problem=train.problem,
        inputs_example=_example(train),
        preprocessor=result.task.preprocessor,
        provenance=_provenance(recipe, result),
        processor=result.tokenizer,
        card=_card(recipe, result),
    )
    report_folder(result.folder)
    if "save_strategy" not in recipe.training:  # they were for an interruption
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        recipe.save(folder / "recipe.yaml")
    return result


def saved(recipe: Recipe) -> Recipe:
    """The recipe with checkpoints, where it says nothing of them (sharded runs cannot write any)."""
    if "save_strategy" in recipe.training or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return recipe
    steps = recipe.training.get("max_steps", DistillationArguments.max_steps)
    saving = {"save_strategy": "steps", "save_steps": max(1, steps // N_SAVES), "save_total_limit": 2}
    return replace(recipe, training={**recipe.training, **saving})


def _check_folder(folder: Path, recipe: Recipe) -> None:
    """Refuse a run folder whose results another recipe made; ConfigError."""
    if not (folder / METRICS_FILE).is_file():
        return
    mend = "name another output_dir, or pass --overwrite (overwrite=True) to lose them"
    try:
        had = recipe_facts(Recipe.load(folder / "recipe.yaml"))
    except LimbeckError as error:  # of a comparison, a chain, or written by another version
        raise ConfigError(f"{folder} holds results that are not of this recipe; {mend}.") from error
    have = recipe_facts(recipe)
    if had != have:
        raise ConfigError(
            f"{folder} holds the results of another recipe, with {differences(had, have)}; {mend}."
        )


def _example(train: Examples) -> Inputs:
    """Two rows to trace the student with; texts of one token get a padded second, or their length would be fixed."""
    inputs = without_padding(train.rows(range(min(2, len(train)))))
    mask = inputs.get("attention_mask")
    if mask is None or mask.shape[-1] > 1:
        return inputs
    return {n: functional.pad(v, (0, 1)) if v.shape == mask.shape else v for n, v in inputs.items()}


def result_rows(result: RunResult, *, arm: str) -> list[Row]:
    """The scores of a run in the one schema of results."""
    recipe = result.recipe
    return [
        Row(
            arm=arm,
            method=recipe.method.name,
            link=link_text(result),
            control=recipe.control,
            seed=recipe.seed,
            split=split,
            metric=metric,
            value=value,
            seconds=result.seconds,
            steps=result.steps,
        )
        for split, values in result.metrics.items()
        for metric, value in values.items()
        if math.isfinite(value) or metric == result.task.problem.metric.name
    ]


def link_text(result: RunResult) -> str:
    """Name of the link, of several teachers joined by ``+``; ``none`` for a method without a teacher."""
    return "+".join(dict.fromkeys(result.links.values())) or "none"


def _info(recipe: Recipe, result: RunResult, stage: str) -> dict[str, Any]:
    stages = [*result.stages, result.facts(stage)] if result.stages else []
    return {
        "title": f"{recipe.method.name} on {result.task.name}",
        "data": result.task.info,
        "recipe": asdict(recipe),
        "warnings": result.warnings,
        "stages": stages,
        "confusion": _confusion(result),
        "metrics": [asdict(metric) for metric in result.task.problem.metrics],
        "versions": {"limbeck": __version__},
    }


def _confusion(result: RunResult) -> dict[str, Any] | None:
    """Counts of true class (down) by found class on the first final split; None where rows have no one class."""
    split = next((name for name in result.statistics if name.startswith("test")), "validation")
    kept = result.statistics.get(split)
    counts = None if kept is None else result.task.problem.confusion(kept)
    if counts is None:
        return None
    return {"split": split, "names": list(result.task.problem.names), "counts": counts.tolist()}


def _provenance(recipe: Recipe, result: RunResult) -> dict[str, Any]:
    """Where the student comes from, for its card."""
    teachers = {
        name: _teacher_facts(spec, result.folder / name if recipe.teachers else result.folder)
        for name, spec in recipe.teacher_specs().items()
    }
    taught = plan_method(recipe.method.name, recipe.method.config).declared.has_teacher
    stages = [{key: value for key, value in facts.items() if key != "seconds"} for facts in result.stages]
    return {
        **({"stages": stages} if stages else {}),
        "method": recipe.method.name,
        "method_config": recipe.method.config,
        "data": result.task.name,
        "link": link_text(result),
        "control": recipe.control,
        "teacher": None if not taught else teachers if recipe.teachers else teachers["teacher"],
        "seed": recipe.seed,
        "steps": result.steps,
        result.task.problem.metric.name: result.scores,
        "limbeck": __version__,
    }


def _card(recipe: Recipe, result: RunResult) -> dict[str, Any]:
    """What the head of the card says: the recipe's own words, and what the run knows. Folders are nobody's model."""
    path = recipe.student.model.removeprefix("hf:")
    known: dict[str, Any] = {}
    if recipe.student.model == "minilm":
        known["base_model"] = "sentence-transformers/all-MiniLM-L6-v2"
    elif path != recipe.student.model and not Path(path).exists():
        known["base_model"] = path
    rows = result_rows(result, arm=recipe.method.name)
    known["results"] = [
        {"dataset": result.task.name, "split": row.split, "metric": row.metric, "value": row.value}
        for row in rows
        if row.split == "test"
    ]
    return {**known, **recipe.card}


def _teacher_facts(spec: TeacherSpec, folder: Path) -> dict[str, Any]:
    """Bank, fingerprint and licence of a teacher; of a live one its name."""
    if spec.live is not None:
        return {"live": spec.model if spec.live == "model" else spec.live}
    bank = Path(spec.bank) if spec.bank else folder / "bank"
    facts: dict[str, Any] = {"bank": bank.name}
    if (bank / "bank.json").is_file():
        manifest = json.loads((bank / "bank.json").read_text(encoding="utf-8"))
        facts |= {key: manifest.get(key) for key in ("fingerprint", "licence")}
    return facts
