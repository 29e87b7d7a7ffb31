"""``limbeck demo``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.parser import Parser, at_most, folder_name, parse_list
from limbeck.commands.terminal import waiting


def command(arguments: Sequence[str]) -> int:
    from limbeck.demo import QUICK, DemoOptions, check_extra, run_demo

    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    given = vars(values)  # without what was not given
    as_json, quick = given.pop("json", False), given.pop("quick", False)
    options = DemoOptions(**(QUICK if quick else {}) | given)
    check_extra(options)
    Path(options.output).mkdir(parents=True, exist_ok=True)  # what cannot be written is told at once
    with waiting("Starting torch and transformers"):
        import limbeck.arms  # noqa: F401
        from limbeck.commands.comparison import print_comparison
    print_comparison(run_demo(options), as_json=as_json)
    return 0


def _parser() -> Parser:
    from limbeck.demo import CONTROLS, MOST, DemoOptions, demo_arms

    parser = Parser(
        prog="limbeck demo",
        description="An image model that reads digits teaches a small audio model to hear them:\n"
        "compared, with the same steps, with the student taught by nobody, and beside\n"
        "each arm its shuffled control. Started again it goes on where it stopped.",
        epilog="example:\n  limbeck demo --images mnist:DIR --audio fsdd:DIR --labels 2 --seeds 5",
        argument_default=argparse.SUPPRESS,
    )

    def add(name: str, metavar: str, what: str, kind: Callable[[str], Any] = str) -> None:
        default = getattr(DemoOptions, name)
        shown = ", ".join(default) if isinstance(default, tuple) else default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar=metavar,
            help=f"{what} (default: {shown or 'none'})",
        )

    parser.add_argument("--quick", action="store_true", help="one seed, half the steps: under a minute")
    add("output", "DIR", "folder of the results", folder_name)
    add("seeds", "N", "seeds", at_most(MOST["seeds"]))
    add("labels", "N", "labelled clips of each digit", at_most(MOST["labels"]))
    add("steps", "N", "optimiser steps", at_most(MOST["steps"]))
    add("jobs", "N", "runs at a time", at_most(MOST["jobs"]))
    add("images", "sklearn|mnist:DIR", "the teacher's images")
    add("audio", "speech|fsdd:DIR", "the student's clips")
    add("unseen_speakers", "A,B", "speakers that are only tested on", parse_list)
    add("arms", "A,B", f"of {', '.join(demo_arms())}", parse_list)
    add("controls", "A,B", f"of {', '.join(CONTROLS)}", parse_list)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser
