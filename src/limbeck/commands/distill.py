"""``limbeck distill``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.commands.parser import Parser, add_no_verify, print_json, trusts_code
from limbeck.commands.terminal import waiting
from limbeck.errors import one_line
from limbeck.recipes.places import check_places
from limbeck.recipes.recipe import parse_recipe, recipe_parser, shipped_recipes

if TYPE_CHECKING:
    from limbeck.fit import RunResult


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 2
    values, recipe_arguments = parser.parse_known_args(arguments)
    if values.help_recipe:
        print(recipe_parser().format_help())
        return 0
    recipe = parse_recipe(recipe_arguments, look=None if values.print_recipe else check_places)
    if values.print_recipe:
        import yaml

        print(yaml.safe_dump(asdict(recipe), sort_keys=False), end="")
        return 0
    with waiting("Starting torch and transformers"):
        from limbeck.distill import distill
        from limbeck.training.processes import is_first_process

    folder = Path(recipe.output_dir)
    if values.resume and not any(folder.glob("checkpoints/checkpoint-*")):
        print(f"limbeck: {folder} has no checkpoint; starting from the first step.", file=sys.stderr)
    result = distill(
        recipe,
        resume=values.resume,
        overwrite=values.overwrite,
        trust_code=trusts_code(values),
        verify=not values.no_verify,
    )
    if not is_first_process():
        return 0
    if values.json:
        print_json({"scores": result.scores, "steps": result.steps, "folder": str(folder)})
        return 0
    _print_scores(result)
    for note in result.task.info.get("notes", ()):
        print(one_line(f"{note}."))
    print(f"student: {folder / 'student'}\nreport: {folder / 'report.html'}")
    return 0


def _print_scores(result: RunResult) -> None:
    """Method, link and control, then the score that decides and the rows of each split."""
    from limbeck.distill import link_text

    metric, recipe = result.task.problem.metric, result.recipe
    link = link_text(result)
    by = "" if link == "none" else f", link {link}, control {recipe.control}"
    print(f"{recipe.method.name}{by}, {str(metric).lower()} after {result.steps:,} steps:")
    for split, value in result.scores.items():
        rows = len(next(iter(result.statistics[split].values()))) if result.statistics.get(split) else 0
        print(f"{split:<14}{metric.text(value)} of {rows:,} rows")


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
    parser.add_trust_code()
    add_no_verify(parser)
    add("--print-recipe", action="store_true", help="show the resolved recipe and stop")
    add("--help-recipe", action="store_true", help="list every key of the recipe")
    add("--json", action="store_true", help="print the scores as JSON")
    return parser
