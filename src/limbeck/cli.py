"""The command line: parse, call, print. Each subcommand has its own parser; heavy imports come with the work.

Exit codes: 0 ok, 1 failed, 2 wrong use. Errors are one sentence with the mend; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from limbeck import __version__
from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, nearest

PROGRAM = "limbeck"
COMMANDS: dict[str, str] = {
    "demo": "the main job on an embedded data set, end to end; ends with its report",
    "bank": "ask a teacher once and keep what it says: build, info, verify, delete",
    "distill": "train a student from a recipe",
    "report": "(re)build the HTML report of a run or a comparison",
    "predict": "use an exported student",
    "methods": "list the methods, or show one card",
}


class Parser(argparse.ArgumentParser):
    """Wrong use is an error of ours, so that every message has the same form; no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise WrongUse(f"{message}; see `{self.prog} --help`.")

    def check_unknown(self, unknown: Sequence[str]) -> None:
        flags = [option for action in self._actions for option in action.option_strings]
        if unknown:
            name = unknown[0].partition("=")[0]
            raise WrongUse(f"There is no option {name!r} of `{self.prog}`; {nearest(name, flags)}")


class WrongUse(LimbeckError):
    """The command line cannot be understood; exit code 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        return _dispatch(arguments)
    except LimbeckError as error:
        if debug:
            raise
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2 if isinstance(error, (WrongUse, ConfigError, UnknownNameError)) else 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except ImportError as error:
        if debug or error.name is None or error.name.startswith(PROGRAM):
            raise
        print(f"{PROGRAM}: the package {error.name!r} is missing; install it or the extra that has it.", file=sys.stderr)
        return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    if command in ("-V", "--version"):
        print(f"{PROGRAM} {__version__}")
        return 0
    if command not in COMMANDS:
        raise WrongUse(f"There is no command {command!r}; {nearest(command, COMMANDS)}")
    return HANDLERS[command](rest)


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, text in COMMANDS.items()]
    return (
        f"{PROGRAM} {__version__}: cross-modal knowledge distillation\n\nusage: {PROGRAM} COMMAND [OPTIONS]\n\n"
        + "\n".join(lines)
        + f"\n\nexample:\n  {PROGRAM} demo --quick\n\n"
        f"`{PROGRAM} COMMAND --help` tells a command's options; --debug shows the traceback of an error."
    )


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


# ---- demo ---------------------------------------------------------------------------------------------------


def _demo(arguments: Sequence[str]) -> int:
    from limbeck.demo import ARMS, DEFAULT_ARMS, Demo, demo_options, parse_list

    parser = Parser(
        prog="limbeck demo",
        description="An image model that reads digits teaches a small audio model to hear them; compared, with the "
        "same steps,\nwith the student taught by nobody and beside each arm its shuffled control.",
        epilog="example:\n  limbeck demo --images mnist:DIR --audio fsdd:DIR --labels 2 --seeds 5",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one seed, half the steps: under a minute")
    add("--output", metavar="DIR", default="limbeck-demo", help="folder of the results (default: %(default)s)")
    add("--seeds", type=int, default=3, metavar="N", help="seeds (default: %(default)s)")
    add("--labels", type=int, default=5, metavar="N", help="labelled clips of each digit (default: %(default)s)")
    add("--steps", type=int, default=240, metavar="N", help="optimiser steps (default: %(default)s)")
    add("--images", default="sklearn", metavar="sklearn|mnist:DIR", help="(default: %(default)s)")
    add("--audio", default="speech", metavar="speech|fsdd:DIR", help="(default: %(default)s)")
    add("--unseen-speakers", type=parse_list, default=(), metavar="A,B", help="speakers that are only tested on")
    add("--arms", type=parse_list, default=DEFAULT_ARMS, metavar="A,B", help=f"of {', '.join(ARMS)}")
    add("--controls", type=parse_list, default=("shuffled",), metavar="A,B", help="of shuffled, random")
    add("--json", action="store_true", help="print the results as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    given = [a.lstrip("-").partition("=")[0].replace("-", "_") for a in arguments if a.startswith("--")]
    options = {k: v for k, v in vars(values).items() if k != "json"}
    demo = Demo(demo_options(options, given))
    report = demo.run()
    if values.json:
        from dataclasses import asdict

        _print_json({"rows": [asdict(row) for row in demo.rows], "report": str(report)})
    else:
        _print_results(demo.rows)
        print(f"\nreport: {report}")
    return 0


def _print_results(rows: Sequence[Any]) -> None:
    from rich.console import Console

    from limbeck.evaluation import verdicts
    from limbeck.reporting import results_table

    console = Console()
    for split in sorted({row.split for row in rows if row.split.startswith("test")}):
        console.print(results_table(rows, split=split))
    for verdict in verdicts(rows).values():
        console.print(f"- {verdict.sentence}", highlight=False)


# ---- distill ------------------------------------------------------------------------------------------------


def _distill(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck distill",
        description="Train a student from a recipe; a YAML file, options, or both (options win). The run folder gets "
        "recipe.yaml,\nmetrics.json, log.jsonl, student/ and checkpoints/.",
        epilog="example:\n  limbeck distill --config recipe.yaml --training.learning_rate 1e-4 --seed 3\n\n"
        "All other options are keys of the recipe: data.*, teacher.*, student.*, method.*, control, training.*,\n"
        "output_dir, seed. `limbeck distill --print-recipe` shows the resolved recipe and stops; `--help-recipe` lists "
        "all keys.",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the run folder")
    parser.add_argument("--print-recipe", action="store_true", help="show the resolved recipe and stop")
    parser.add_argument("--help-recipe", action="store_true", help="list every key of the recipe")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    values, recipe_arguments = parser.parse_known_args(arguments)
    from limbeck.recipes.recipe import parse_recipe, recipe_parser

    if values.help_recipe:
        print(recipe_parser().format_help())
        return 0
    recipe = parse_recipe(recipe_arguments)
    if values.print_recipe:
        from dataclasses import asdict

        import yaml

        print(yaml.safe_dump(asdict(recipe), sort_keys=False), end="")
        return 0
    from limbeck.distill import distill

    result = distill(recipe, resume=values.resume)
    if values.json:
        _print_json({"scores": result.scores, "steps": result.steps, "folder": str(result.folder)})
    else:
        for split, value in result.scores.items():
            print(f"{split:<14}{value:.1%}")
        print(f"student: {result.folder / 'student'}")
    return 0


# ---- methods, report ----------------------------------------------------------------------------------------


def _methods(arguments: Sequence[str]) -> int:
    from limbeck.methods.registry import METHODS, method_card

    parser = Parser(
        prog="limbeck methods",
        description="List the methods, or show one card: paper, equations, what it needs, which links it can use.",
        epilog="example:\n  limbeck methods bagkd",
    )
    parser.add_argument("name", nargs="?", help="a method")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    cards = [method_card(name) for name in ([values.name] if values.name else METHODS)]
    if values.json:
        _print_json([vars(card) for card in cards])
    elif values.name:
        print(_card(cards[0]))
    else:
        for card in cards:
            print(f"{card.name:<12}{card.summary}\n{'':<12}links: {', '.join(card.links) or 'none'}\n")
    return 0


def _card(card: Any) -> str:
    units = ", ".join(f"{term} ({unit})" for term, unit in card.units.items())
    facts = [
        f"needs   {', '.join(card.needs) or 'nothing of the teacher'}",
        f"links   {', '.join(card.links) or 'none'}",
        f"terms   {units}",
    ]
    return f"{card.name}\n\n{card.description}\n\n" + "\n".join(facts) + f"\n\n{card.config}"


def _report(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck report",
        description="(Re)build report.html from the results in a folder.",
        epilog="example:\n  limbeck report limbeck-demo",
    )
    parser.add_argument("folder", help="folder of a run or a comparison")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.reporting import report_folder

    print(report_folder(values.folder))
    return 0


HANDLERS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": _demo,
    "distill": _distill,
    "methods": _methods,
    "report": _report,
}

if __name__ == "__main__":
    sys.exit(main())
