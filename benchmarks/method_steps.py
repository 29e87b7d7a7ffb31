"""Cost of a training step of every arm of an arms file, relative to ``kd``, as a JSON file for method_table.py.

    python benchmarks/method_steps.py av_digits_paired systems --output steps.json [--steps 40] [--rounds 3]

One process, one thread, processor time (other work on the machine would blur wall time). A round trains every arm for
some steps, in a changing order; a ratio is that of two medians over all steps of all rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from training_step import StepTimes

from limbeck.arms import RecipeArm, recipe_arms
from limbeck.data import make_task
from limbeck.plan import make_trainer
from limbeck.recipes import Recipe
from limbeck.recipes.arms_file import read_arms
from limbeck.shared_teachers import SharedTeachers

REFERENCE = "kd"


def measure(arms: list[RecipeArm], steps: int, rounds: int, folder: Path) -> dict[str, float]:
    """Arm to the median seconds of its steps."""
    shared = SharedTeachers(folder, [arm.recipe.method for arm in arms])
    times: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for turn in range(rounds):
        for arm in random.Random(turn).sample(arms, len(arms)):
            times[arm.name] += one(arm.recipe, steps, shared, folder)
    return {arm: statistics.median(values) for arm, values in times.items()}


def one(recipe: Recipe, steps: int, shared: SharedTeachers, folder: Path) -> list[float]:
    """Seconds of each step of a short run."""
    training = {**recipe.training, "max_steps": steps, "eval_strategy": "no"}
    recipe = replace(recipe, training=training, output_dir=str(folder / "run"))
    task = make_task(recipe.data.name, recipe.data.config)
    taught = recipe.method.name != "supervised"
    places = shared.places(recipe, task) if taught else {}
    specs = recipe.teacher_specs()
    teachers = {name: place.open(specs[name], task, name) for name, place in places.items()}
    trainer = make_trainer(recipe, task, teachers, folder)
    timer = StepTimes()
    trainer.add_callback(timer)
    trainer.train()
    return timer.seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("arms", help="an arms file, or one that ships; it has an arm `kd`")
    parser.add_argument("--output", required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arms = recipe_arms(Recipe.load(options.recipe), arms=read_arms(options.arms).arms)
    with tempfile.TemporaryDirectory() as folder:
        medians = measure(arms, options.steps, options.rounds, Path(folder))
    relative = {arm: seconds / medians[REFERENCE] for arm, seconds in medians.items()}
    Path(options.output).write_text(json.dumps(relative, indent=2))
    for arm, ratio in relative.items():
        print(f"{arm:<28} {1e3 * medians[arm]:7.1f} ms {ratio:6.2f}")


if __name__ == "__main__":
    main()
