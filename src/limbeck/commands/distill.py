"""``limbeck distill``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from limbeck.commands.parser import Parser, print_json
from limbeck.commands.terminal import waiting
from limbeck.errors import one_line
from limbeck.recipes.recipe import parse_recipe, recipe_parser, shipped_recipes


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 2
    values, recipe_arguments = parser.parse_known_args(arguments)
    if values.help_recipe:
        print(recipe_parser().format_help())
        return 0
    with waiting("Starting torch and transformers"):
        recipe = parse_recipe(recipe_arguments)
    if values.print_recipe:
        import yaml

        print(yaml.safe_dump(asdict(recipe), sort_keys=False), end="")
        return 0
    from limbeck.distill import distill
    from limbeck.training.processes import is_first_process

    folder = Path(recipe.output_dir)
    if values.resume and not any(folder.glob("checkpoints/checkpoint-*")):
        print(f"limbeck: {folder} has no checkpoint; starting from the first step.", file=sys.stderr)
    if values.trust_code:
        sys.path.insert(0, "")  # a module that lies where one starts
    result = distill(recipe, resume=values.resume, overwrite=values.overwrite, trust_code=values.trust_code)
    if not is_first_process():
        return 0
    if values.json:
        print_json({"scores": result.scores, "steps": result.steps, "folder": str(folder)})
        return 0
    for split, value in result.scores.items():
        print(f"{split:<14}{result.task.problem.metric.text(value)}")
    for note in result.task.info.get("notes", ()):
        print(one_line(f"{note}."))
    print(f"student: {folder / 'student'}\nreport: {folder / 'report.html'}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck distill",
        description="Train a student from a recipe: a YAML file, options, or both (options win).\n"
        "The run folder gets recipe.yaml, metrics.json, log.jsonl, report.html, student/\nand checkpoints/.",
        epilog="--config takes a YAML file or the name of a recipe that ships:\n  "
        + ", ".join(shipped_recipes())
        + "\nThe other options are keys of the recipe: data.*, teacher.*, student.*, method.*,\n"
        "control, training.*, output_dir, seed.\n\n"
        "example:\n  limbeck distill --config av_digits_bagged --training.max_steps 100 --seed 3",
    )
    add = parser.add_argument
    add("--resume", action="store_true", help="go on from the last checkpoint in the run folder")
    add("--overwrite", action="store_true", help="lose the results of another recipe in the run folder")
    add("--trust-code", action="store_true", help="import a model MODULE:FACTORY, which runs its code")
    add("--print-recipe", action="store_true", help="show the resolved recipe and stop")
    add("--help-recipe", action="store_true", help="list every key of the recipe")
    add("--json", action="store_true", help="print the scores as JSON")
    return parser
