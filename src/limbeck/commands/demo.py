"""``limbeck demo``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.commands.parser import Parser, parse_list, positive, print_json
from limbeck.commands.terminal import waiting


def command(arguments: Sequence[str]) -> int:
    from limbeck.demo import ARMS, DEFAULT_ARMS, Demo, demo_options

    parser = Parser(
        prog="limbeck demo",
        description="An image model that reads digits teaches a small audio model to hear them; compared, with the "
        "same steps,\nwith the student taught by nobody and beside each arm its shuffled control.",
        epilog="example:\n  limbeck demo --images mnist:DIR --audio fsdd:DIR --labels 2 --seeds 5",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one seed, half the steps: under a minute")
    add(
        "--output", metavar="DIR", default="limbeck-demo", help="folder of the results (default: %(default)s)"
    )
    add("--seeds", type=positive, default=3, metavar="N", help="seeds (default: %(default)s)")
    add(
        "--labels",
        type=positive,
        default=5,
        metavar="N",
        help="labelled clips of each digit (default: %(default)s)",
    )
    add("--steps", type=positive, default=240, metavar="N", help="optimiser steps (default: %(default)s)")
    add("--images", default="sklearn", metavar="sklearn|mnist:DIR", help="(default: %(default)s)")
    add("--audio", default="speech", metavar="speech|fsdd:DIR", help="(default: %(default)s)")
    add(
        "--unseen-speakers",
        type=parse_list,
        default=(),
        metavar="A,B",
        help="speakers that are only tested on",
    )
    add("--arms", type=parse_list, default=DEFAULT_ARMS, metavar="A,B", help=f"of {', '.join(ARMS)}")
    add("--controls", type=parse_list, default=("shuffled",), metavar="A,B", help="of shuffled, random")
    add("--json", action="store_true", help="print the results as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    given = [a.lstrip("-").partition("=")[0].replace("-", "_") for a in arguments if a.startswith("--")]
    options = {k: v for k, v in vars(values).items() if k != "json"}
    demo = Demo(demo_options(options, given))
    demo.folder.mkdir(parents=True, exist_ok=True)  # what cannot be written is told at once
    with waiting("Starting torch and transformers"):
        import limbeck.data
        import limbeck.run  # noqa: F401
    report = demo.run()
    if values.json:
        from dataclasses import asdict

        print_json({"rows": [asdict(row) for row in demo.rows], "report": str(report)})
    else:
        _print_results(demo.rows, demo.warnings)
        print(f"\nreport: {report}")
    return 0


def _print_results(rows: Sequence[Any], warnings: Sequence[str]) -> None:
    from rich.console import Console

    from limbeck.evaluation import verdicts
    from limbeck.reporting import results_table

    console = Console()
    for split in sorted({row.split for row in rows if row.split.startswith("test")}):
        console.print(results_table(rows, split=split))
    for verdict in verdicts(rows).values():
        console.print(f"- {verdict.sentence}", highlight=False)
    for warning in warnings:
        console.print(f"! {warning}", highlight=False, markup=False)
