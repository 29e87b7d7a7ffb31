"""``limbeck distill``."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.commands.parser import Parser, print_json
from limbeck.commands.terminal import waiting


def command(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck distill",
        description="Train a student from a recipe; a YAML file, options, or both (options win). The run folder gets "
        "recipe.yaml,\nmetrics.json, log.jsonl, student/ and checkpoints/.",
        epilog="example:\n  limbeck distill --config recipe.yaml --training.learning_rate 1e-4 --seed 3\n\n"
        "All other options are keys of the recipe: data.*, teacher.*, student.*, method.*, control, training.*,\n"
        "output_dir, seed. `limbeck distill --print-recipe` shows the resolved recipe and stops; `--help-recipe` lists "
        "all keys.",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in the run folder"
    )
    parser.add_argument("--print-recipe", action="store_true", help="show the resolved recipe and stop")
    parser.add_argument("--help-recipe", action="store_true", help="list every key of the recipe")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    values, recipe_arguments = parser.parse_known_args(arguments)
    from limbeck.recipes.recipe import parse_recipe, recipe_parser

    if values.help_recipe:
        print(recipe_parser().format_help())
        return 0
    with waiting("Starting torch and transformers"):
        recipe = parse_recipe(recipe_arguments)
    if values.print_recipe:
        from dataclasses import asdict

        import yaml

        print(yaml.safe_dump(asdict(recipe), sort_keys=False), end="")
        return 0
    from limbeck.distill import distill

    result = distill(recipe, resume=values.resume)
    if values.json:
        print_json({"scores": result.scores, "steps": result.steps, "folder": str(result.folder)})
    else:
        for split, value in result.scores.items():
            print(f"{split:<14}{value:.1%}")
        print(f"student: {result.folder / 'student'}")
    return 0
