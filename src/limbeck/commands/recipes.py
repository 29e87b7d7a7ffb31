"""``limbeck recipes``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from limbeck.commands.parser import Parser, print_json
from limbeck.recipes.chain_spec import shipped_chains
from limbeck.recipes.recipe import shipped_recipes


def command(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck recipes",
        description="List the recipes (for `limbeck distill`) and chains (for `limbeck chain`) that ship.",
        epilog="example:\n  limbeck recipes",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    kinds = {"distill": shipped_recipes(), "chain": shipped_chains()}
    if values.json:
        print_json(
            [
                {"name": name, "command": kind, "path": path, "about": _about(path)}
                for kind, paths in kinds.items()
                for name, path in paths.items()
            ]
        )
        return 0
    width = shutil.get_terminal_size().columns
    for kind, paths in kinds.items():
        for name, path in paths.items():
            print(f"limbeck {kind} --config {name}")
            print(textwrap.fill(_about(path), width, initial_indent="    ", subsequent_indent="    ") + "\n")
    return 0


def _about(path: Path) -> str:
    """The comment in a file's first line."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
