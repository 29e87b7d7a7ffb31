"""``limbeck compare``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.parser import (
    Parser,
    WrongUse,
    add_no_verify,
    at_most,
    folder_name,
    parse_list,
    trusts_code,
)
from limbeck.commands.terminal import waiting
from limbeck.recipes.arms_file import read_arms, shipped_arms
from limbeck.recipes.places import check_places
from limbeck.recipes.recipe import parse_recipe


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    values, recipe_arguments = parser.parse_known_args(arguments)
    vary = dict(_varied(text) for text in values.vary)
    file = read_arms(values.arms) if values.arms else None
    output = Path(values.output)
    output.mkdir(parents=True, exist_ok=True)  # what cannot be written is told at once
    own = file is None and not any(key.startswith(("data", "teacher")) for key in vary)  # not those of an arm
    recipe = parse_recipe(recipe_arguments, look=check_places if own else None)
    with waiting("Starting torch and transformers"):
        from limbeck.arms import compare
        from limbeck.commands.comparison import print_comparison

    controls = values.controls
    if controls is None:
        controls = (file.controls if file else None) or ("shuffled",)
    found = compare(
        recipe,
        methods=values.methods,
        controls=controls,
        seeds=values.seeds,
        jobs=values.jobs,
        threads=values.threads,
        output=output,
        vary=vary,
        arms=file.arms if file else None,
        tune=values.tune,
        space=file.tune if file else None,
        trust_code=trusts_code(values),
        title=values.title,
        verify=not values.no_verify,
        command=shlex.join(["limbeck", "compare", *arguments]),
    )
    print_comparison(found, as_json=values.json)
    return 0


def _varied(text: str) -> tuple[str, list[Any]]:
    """``KEY=V1,V2``, each value as YAML reads it."""
    import yaml

    key, equals, values = text.partition("=")
    if not key or not equals or not values:
        raise WrongUse(f"--vary takes KEY=V1,V2, not {text!r}; see `limbeck compare --help`.")
    try:
        found = yaml.safe_load(f"[{values}]")
    except (yaml.YAMLError, ValueError, RecursionError):
        raise WrongUse(f"--vary takes KEY=V1,V2, and the values of {text!r} cannot be read.") from None
    return key, found


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck compare",
        description="Did the teacher help? Runs methods x controls x seeds from one recipe, beside the same\n"
        "student without a teacher, and says what may be claimed. Started again in the same folder\n"
        "it goes on where it stopped. Writes compare.json, metrics.json, report.html and tables\n"
        "for papers.",
        epilog="The other options are keys of the recipe, as of `limbeck distill`: --config, data.*,\n"
        "method.*, training.*, ... Arms files that ship: " + ", ".join(shipped_arms()) + ".\n\n"
        "example:\n  limbeck compare --config av_digits_paired --methods kd --controls shuffled,random --seeds 5",
    )
    add = parser.add_argument
    add(
        "--methods",
        type=parse_list,
        default=(),
        metavar="A,B",
        help="methods (default: the recipe's), or arms of the file",
    )
    add(
        "--controls", type=parse_list, metavar="A,B",
        help="shuffled, random, uniform, prototype, self, label_smoothing; KIND:TEACHER (default: shuffled)",
    )  # fmt: skip
    add("--seeds", type=at_most(10_000), default=5, metavar="N", help="seeds 0 to N-1 (default: 5)")
    add("--jobs", type=at_most(1024), default=1, metavar="N", help="runs at a time (default: 1)")
    add("--threads", type=at_most(1024), default=1, metavar="N", help="threads of each run (default: 1)")
    add("--vary", action="append", default=[], metavar="KEY=V1,V2", help="vary a key of the recipe")
    add(
        "--tune", type=at_most(10_000), metavar="N",
        help="first N trials of every arm in the search space `tune` of the arms file or recipe (extra tune)",
    )  # fmt: skip
    add("--arms", metavar="FILE", help="YAML: what each arm changes in the recipe")
    parser.add_trust_code()
    add(
        "--output",
        type=folder_name,
        default="runs/compare",
        metavar="DIR",
        help="folder (default: runs/compare)",
    )
    add_no_verify(parser)
    add("--title", default="", help="of the report")
    add("--json", action="store_true", help="print compare.json")
    return parser
