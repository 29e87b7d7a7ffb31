"""From a recipe to the arms of a comparison, in each of which one field is another; :func:`compare` runs them."""

from __future__ import annotations

import copy
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from limbeck import __version__
from limbeck.arm_run import LABEL_SMOOTHING, ArmRun, controlled, data_fingerprint
from limbeck.banks.folder.verifying import verifying
from limbeck.data import make_task
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.evaluation.comparison import Arm, Comparison, run_arms
from limbeck.evaluation.results import NO_CONTROL
from limbeck.evaluation.statistics import BASELINE
from limbeck.evaluation.summary import write_summary
from limbeck.methods.registry import plan_method
from limbeck.plan import check_ahead
from limbeck.recipes.arms_file import ArmPatch, changed, differing
from limbeck.recipes.recipe import CONTROLS, Recipe, check_recipe
from limbeck.recipes.specs import MethodSpec
from limbeck.reporting.folder import report_folder
from limbeck.shared_teachers import Place, SharedTeachers, teacher_identity
from limbeck.students.own_model import check_trusted, own_models
from limbeck.taught import readable
from limbeck.training.encoding import encoded_task
from limbeck.tuning.arms import check_tuning, tuned
from limbeck.tuning.own_copy import SELF, check_self, is_self

ALWAYS = (BASELINE, NO_CONTROL)  # what every comparison has; naming it changes nothing


@dataclass(frozen=True)
class RecipeArm:
    """An arm as a recipe.

    Args:
        name: unique.    recipe: what it runs, without a control.    controls: what runs beside it.
        given: what its teacher gives, in words, for the table; empty = what its link gives.
    """

    name: str
    recipe: Recipe
    controls: tuple[str, ...] = ()
    given: str = ""


def compare(
    recipe: Recipe | str | Path,
    *,
    methods: Sequence[str] = (),
    controls: Sequence[str] = ("shuffled",),
    seeds: int | Sequence[int] = 5,
    jobs: int = 1,
    threads: int = 1,
    output: str | Path | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    arms: Mapping[str, ArmPatch] | None = None,
    tune: int | None = None,
    space: Mapping[str, Any] | None = None,
    verify: bool = True,
    trust_code: bool = False,
    title: str = "",
    command: str = "",
    show_progress: bool = True,
) -> Comparison:
    """Run methods x controls x seeds from one recipe; writes ``compare.json``, ``metrics.json`` and ``report.html``.

    Beside every arm stand the same student without a teacher (``supervised``, always there) and the arm's controls.
    Started again in the same folder it goes on where it stopped.

    Args:
        recipe: a recipe, its file, or the name of one that ships.
        methods: names of the registry; default the recipe's own. The recipe's settings stay with its own method,
            others have their defaults (an arms file gives them others).
        controls: ``shuffled``, ``random``, ``uniform``, ``prototype``, ``self`` (the student is taught by an earlier
            copy of itself), with several teachers ``shuffled:NAME``; ``label_smoothing`` (of the student without a
            teacher).
        seeds: how many, or which.    jobs: processes.    threads: of each.
        output: folder; default ``runs/compare``.
        vary: one or more keys of the recipe, each with the values it takes (``{"method.config.temperature": [1, 4]}``).
        arms: name to what is changed for that arm; ``methods`` then chooses some of them by name.
        tune: trials of every arm before its runs, at a seed of their own and judged by validation; the best values are
            then those of the arm and its controls in all seeds.
        space: what they search in, in place of the recipe's ``tune``.
        verify: read every byte of the banks first, see :func:`limbeck.run`.
        trust_code: import models that recipes name as ``MODULE:FACTORY``, which runs their code.
        title, command: for the report.

    Raises: ConfigError, UnknownNameError, LinkError, MissingSignalError before the first run; DataError for arms that
        do not share their data.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    chosen = recipe_arms(recipe, methods=methods, controls=controls, vary=vary, arms=arms)
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers:
        raise ConfigError("A comparison needs at least one seed.")
    recipes = {arm.name: arm.recipe for arm in chosen}
    spaces = {} if tune is None else check_tuning(recipes, recipe.tune if space is None else space, tune)
    folder = Path(output or "runs/compare")
    folder.mkdir(parents=True, exist_ok=True)
    teachers = SharedTeachers(folder, [arm.recipe.method for arm in chosen])
    tried: dict[str, Any] = {}
    with own_models(trust_code=trust_code):
        for arm in chosen:
            check_trusted(arm.recipe.student.model)
        with verifying(verify):
            places = _places(chosen, numbers, teachers)
        if tune is not None:
            recipes, tried = tuned(
                recipes,
                spaces,
                tune,
                seeds=numbers,
                teachers=teachers,
                folder=folder,
                threads=threads,
                show_progress=show_progress,
            )
            chosen = [replace(arm, recipe=recipes[arm.name]) for arm in chosen]
    found = run_arms(
        [Arm(arm.name, arm.controls, _identity(arm, places, numbers[0])) for arm in chosen],
        ArmRun(recipes, places, numbers[0], trust_code),
        numbers,
        output=folder,
        jobs=jobs,
        threads=threads,
        info={**_info(recipe, chosen, teachers, title, command), **({"tune": tried} if tried else {})},
        show_progress=show_progress,
    )
    write_summary(found)
    report_folder(folder)
    return found


def recipe_arms(
    recipe: Recipe,
    *,
    methods: Sequence[str] = (),
    controls: Sequence[str] = (),
    vary: Mapping[str, Sequence[Any]] | None = None,
    arms: Mapping[str, ArmPatch] | None = None,
) -> list[RecipeArm]:
    """The student without a teacher, and the arms to be compared with it; for the arguments see :func:`compare`.

    Raises: ConfigError, UnknownNameError.
    """
    if recipe.control != NO_CONTROL:
        raise ConfigError(
            f"The recipe of a comparison has no control of its own, and this one has {recipe.control!r}; name it "
            "under controls."
        )
    if arms and vary:
        raise ConfigError(
            "Keys are varied for methods, not for arms that are given; write the values into the arms."
        )
    recipe = replace(recipe, tune={})
    asked = _checked_controls(controls)
    own = tuple(control for control in asked if control != LABEL_SMOOTHING)
    base = replace(recipe, method=MethodSpec(BASELINE))
    found = [RecipeArm(BASELINE, base, tuple(c for c in asked if c == LABEL_SMOOTHING), "no teacher")]
    patches = _chosen(arms, methods) if arms else _patches(recipe, methods, vary or {})
    for name, patch in patches.items():
        patched = changed(recipe, patch.changes, f"arm {name!r}")
        if patched.method.name == BASELINE and name == BASELINE:
            found[0] = replace(found[0], recipe=patched)
            continue
        taught = plan_method(patched.method.name, patched.method.config).declared.has_teacher
        mine = own if patch.controls is None else _checked_controls(patch.controls)
        found.append(RecipeArm(name, patched, mine if taught else (), patch.given))
    if len(found) == 1:
        raise ConfigError("There is nothing to compare the student without a teacher with; name a method.")
    for arm in found:
        for control in arm.controls:
            # what is right of a shuffled control is right of self: it names a teacher where there are several
            check_recipe(
                controlled(arm.recipe, control.replace(SELF, "shuffled") if is_self(control) else control)
            )
    return _scored_alike(found)


def _chosen(arms: Mapping[str, ArmPatch], names: Sequence[str]) -> Mapping[str, ArmPatch]:
    """The arms that are named, in that order; all where none is."""
    for name in names:
        if name not in (*arms, BASELINE):
            raise UnknownNameError(f"There is no arm {name!r}; {nearest(name, arms)}")
    return {name: arms[name] for name in names if name in arms} if names else arms


def _patches(
    recipe: Recipe, methods: Sequence[str], vary: Mapping[str, Sequence[Any]]
) -> dict[str, ArmPatch]:
    """Methods, each with every combination of the varied values."""
    patches: dict[str, dict[str, Any]] = {}
    for method in methods or (recipe.method.name,):
        if method in ALWAYS and methods:
            continue
        same = method == recipe.method.name
        patches[method] = {} if same else {"method": {"name": method, "config": {}}}
    for key, values in vary.items():
        if not values:
            raise ConfigError(f"{key!r} is to be varied over no value; give some, as KEY=V1,V2.")
        short = key.rpartition(".")[2]
        patches = {
            f"{name}, {short}={value}": {**patch, key: value}
            for name, patch in patches.items()
            for value in values
        }
    return {name: ArmPatch(patch) for name, patch in patches.items()}


def _checked_controls(controls: Iterable[str]) -> tuple[str, ...]:
    known = [*CONTROLS, BASELINE, LABEL_SMOOTHING, SELF]
    for control in controls:
        if control.partition(":")[0] not in known:
            raise UnknownNameError(f"There is no control {control!r}; {nearest(control, known)}")
    return tuple(dict.fromkeys(control for control in controls if control not in ALWAYS))


def _scored_alike(arms: list[RecipeArm]) -> list[RecipeArm]:
    """Where the method of one arm keeps an average of the student, the averages of all are scored."""
    averaged = [
        plan_method(arm.recipe.method.name, arm.recipe.method.config).declared.peers & {"ema"} for arm in arms
    ]
    if not any(averaged):
        return arms
    return [
        replace(arm, recipe=replace(arm.recipe, training={**arm.recipe.training, "ema": True}))
        for arm in arms
    ]


def _places(
    arms: Sequence[RecipeArm], seeds: Sequence[int], teachers: SharedTeachers
) -> dict[tuple[str, int], dict[str, Place]]:
    """Where the teachers of every run lie, made where they are missing; everything that can be refused is, here."""
    places: dict[tuple[str, int], dict[str, Place]] = {}
    taught = next(arm for arm in arms if arm.name != BASELINE)
    for seed in seeds:
        tasks: dict[str, Task] = {}
        for arm in arms:
            data = arm.recipe.data
            if repr(data) not in tasks:
                tasks[repr(data)] = make_task(data.name, data.config, seed=seed)
            task = tasks[repr(data)]
            if seed == seeds[0]:
                _check_ahead(arm.recipe, task)
            if _has_teacher(arm.recipe):
                places[arm.name, seed] = teachers.places(arm.recipe, task)
                if seed == seeds[0]:
                    _check_controls(arm, task, places[arm.name, seed])
            elif data == taught.recipe.data and _has_teacher(
                taught.recipe
            ):  # to tell how near it is to that teacher
                places[arm.name, seed] = teachers.places(taught.recipe, task)
        _check_data(arms, tasks)
    return places


def _check_ahead(recipe: Recipe, task: Task) -> None:
    """What can be refused before a teacher is made."""
    if _has_teacher(recipe):
        coded, *_ = encoded_task(task, recipe.student.model, recipe.student.max_length)
        check_ahead(recipe, coded, plan_method(recipe.method.name, recipe.method.config))


def _check_data(arms: Sequence[RecipeArm], tasks: Mapping[str, Task]) -> None:
    """Refuse arms whose students do not read the same rows, before any of them has run."""
    found = {arm.name: data_fingerprint(tasks[repr(arm.recipe.data)]) for arm in arms}
    first, known = next(iter(found.items()))
    for name, data in found.items():
        if other := sorted(split for split in {*known, *data} if known.get(split) != data.get(split)):
            raise DataError(
                f"The arms {first!r} and {name!r} do not have the same data ({', '.join(other)} differs), so their "
                "difference would not be the method's; compare them in two comparisons, or let the arms share their "
                "data."
            )


def _check_controls(arm: RecipeArm, task: Task, places: Mapping[str, Place]) -> None:
    """Refuse a control that the method, the link or the teacher does not allow."""
    for control in (NO_CONTROL, *arm.controls):
        recipe = controlled(arm.recipe, control)
        plan = plan_method(recipe.method.name, recipe.method.config)
        for name, place in places.items():
            source = place.open(recipe.teacher_specs()[name], task, name)
            if is_self(control) and control in (SELF, f"{SELF}:{name}"):
                check_self(plan, source, task)
            if not plan.declared.text_as_features:
                readable(source, name, recipe, task, plan)


def _has_teacher(recipe: Recipe) -> bool:
    return plan_method(recipe.method.name, recipe.method.config).declared.has_teacher


def _identity(
    arm: RecipeArm, places: Mapping[tuple[str, int], Mapping[str, Place]], seed: int
) -> dict[str, Any]:
    """What decides an arm's results, besides the seed."""
    recipe = {k: v for k, v in asdict(arm.recipe).items() if k not in ("output_dir", "seed")}
    says = teacher_identity(places.get((arm.name, seed), {}))
    return {"version": __version__, **recipe, "says": says}


def _info(
    recipe: Recipe, arms: Sequence[RecipeArm], teachers: SharedTeachers, title: str, command: str
) -> dict[str, Any]:
    """Facts for the report."""
    import torch
    import transformers

    accuracy = {
        f"{name}, {split}": value
        for name, scores in teachers.accuracy.items()
        for split, value in scores.items()
    }
    return {
        "title": title or f"{recipe.data.name}: does the teacher help?",
        "command": command,
        "given": {arm.name: arm.given for arm in arms if arm.given},
        "arms": {arm.name: differing(replace(recipe, tune={}), arm.recipe) for arm in arms},
        "teacher": accuracy,
        "versions": {
            "limbeck": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "recipe": copy.deepcopy(asdict(recipe)),
    }
