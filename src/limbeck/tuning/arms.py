"""Every arm of a comparison with the best of its own trials, all of one number and one seed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from limbeck import __version__
from limbeck.data import make_task
from limbeck.data.task import Task
from limbeck.errors import ConfigError, NonFiniteError
from limbeck.evaluation.comparison import Cell, config_hash
from limbeck.evaluation.results import NO_CONTROL
from limbeck.evaluation.runs_bar import RunsBar
from limbeck.methods.registry import plan_method
from limbeck.recipes.recipe import Recipe
from limbeck.runner import run
from limbeck.shared_teachers import Place, SharedTeachers, teacher_identity
from limbeck.tuning.keys import own_spaces, with_values
from limbeck.tuning.space import Space, search_space
from limbeck.tuning.trials import Trial, best_trial, check_optuna, run_trials

FOLDER = "tuning"
FIRST_SEED = 1000  # beyond those that people give; with more seeds the trials stay what they are


class Tuned(NamedTuple):
    """Arm to its recipe with the best values; what was tried, JSON-able."""

    recipes: dict[str, Recipe]
    facts: dict[str, Any]


@dataclass(frozen=True)
class ValidationScore:
    """The score of an arm with some values, on validation rows; its task has no others to be scored on.

    Args:
        recipe: of the arm.    task: of the tuning seed.    places: teacher to where it lies.
    """

    recipe: Recipe
    task: Task
    places: Mapping[str, Place]

    def __call__(self, values: Mapping[str, Any], folder: Path) -> float:
        recipe = replace(with_values(self.recipe, values), output_dir=str(folder))
        task = replace(self.task, splits=self.task.splits.without(*self.task.splits.final_roles))
        specs = recipe.teacher_specs()
        teachers = {name: place.open(specs[name], task, name) for name, place in self.places.items()}
        found = run(recipe, task=task, banks=teachers or None, verify=False, show_progress=False).scores[
            "validation"
        ]
        if not math.isfinite(found):
            raise NonFiniteError(f"The {task.problem.metric} of validation is {found}.")
        return found


def check_tuning(recipes: Mapping[str, Recipe], values: Mapping[str, Any], n: int) -> dict[str, Space]:
    """Arm to its part of the search space; everything that can be refused without data is, here.

    Raises: ConfigError, UnknownNameError.
    """
    if n < 1:
        raise ConfigError(f"Tuning needs at least 1 trial for each arm; tune is {n}.")
    check_optuna()
    return dict(own_spaces(recipes, search_space(values)))


def tuned(
    recipes: Mapping[str, Recipe],
    spaces: Mapping[str, Space],
    n: int,
    *,
    seeds: Collection[int],
    teachers: SharedTeachers,
    folder: Path,
    threads: int = 1,
    show_progress: bool = True,
) -> Tuned:
    """Run ``n`` trials of every arm at a seed that is none of ``seeds``; an arm without a key to tune has none.

    Args:
        spaces: as :func:`check_tuning` gives them.    teachers: of the comparison.    folder: of the comparison.
        threads: of a run.

    Raises: ConfigError for data without validation rows, or an arm none of whose trials gave a score.
    """
    seed = next(number for number in count(FIRST_SEED) if number not in seeds)
    scores = {arm: _score(arm, recipes[arm], seed, teachers) for arm in recipes if spaces[arm]}
    found: dict[str, Recipe] = dict(recipes)
    facts: dict[str, Any] = {"trials": n, "seed": seed, "space": {}, "arms": {}}
    with RunsBar(n * len(scores), 0, show_progress) as bar:
        for arm in recipes:
            facts["arms"][arm] = {"trials": [], "best": None}
            if arm not in scores:
                continue
            bar.start(f"tuning {arm}")
            score, better = scores[arm], scores[arm].task.problem.metric.better
            identity = _identity(score)
            own = folder / FOLDER / Cell(arm, NO_CONTROL, seed, identity).folder_name
            trials = run_trials(
                score,
                spaces[arm],
                n,
                folder=own,
                better=better,
                identity=identity,
                threads=threads,
                done=lambda arm=arm: bar.advance(f"tuning {arm}"),  # type: ignore[misc]
            )
            best = _best(arm, trials, better)
            found[arm] = with_values(recipes[arm], best.values, f"arm {arm!r}")
            facts["arms"][arm] = {"trials": [asdict(trial) for trial in trials], "best": trials.index(best)}
            facts["space"] |= {key: asdict(what) for key, what in spaces[arm].items()}
            facts["metric"] = asdict(score.task.problem.metric)
    return Tuned(found, facts)


def _score(arm: str, recipe: Recipe, seed: int, teachers: SharedTeachers) -> ValidationScore:
    task = make_task(recipe.data.name, recipe.data.config, seed=seed)
    if "validation" not in task.splits:
        raise ConfigError(
            f"The data {task.name!r} of arm {arm!r} have no validation rows, and nothing is chosen on test rows; give "
            "them a validation split, or compare without tuning."
        )
    taught = plan_method(recipe.method.name, recipe.method.config).declared.has_teacher
    places = teachers.places(recipe, task) if taught else {}
    return ValidationScore(replace(recipe, seed=seed), task, places)


def _identity(score: ValidationScore) -> str:
    """A hash of what decides the score, besides the values."""
    recipe = {k: v for k, v in asdict(score.recipe).items() if k != "output_dir"}
    return config_hash({"version": __version__, **recipe, "says": teacher_identity(score.places)})


def _best(arm: str, trials: list[Trial], better: Literal["higher", "lower"]) -> Trial:
    best = best_trial(trials, better)
    if best is None:
        raise ConfigError(
            f"None of the {len(trials)} trials of arm {arm!r} gave a score ({trials[-1].failed}); narrow its search "
            "space."
        )
    return best
