"""``limbeck methods``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from limbeck.commands.parser import Parser, print_json


def command(arguments: Sequence[str]) -> int:
    from limbeck.methods.registry import METHODS, method_card

    parser = Parser(
        prog="limbeck methods",
        description="List the methods, or show one card: paper, equations, needs, links.",
        epilog="example:\n  limbeck methods bagkd",
    )
    parser.add_argument("name", nargs="?", help="a method")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    cards = [method_card(name) for name in ([values.name] if values.name else METHODS)]
    if values.json:
        print_json([vars(card) for card in cards])
    elif values.name:
        print(_card(cards[0]))
    else:
        width = shutil.get_terminal_size().columns
        for card in cards:
            for text in (card.summary, f"links: {', '.join(card.links) or 'none'}"):
                name = card.name if text == card.summary else ""
                print(textwrap.fill(text, width, initial_indent=f"{name:<12}", subsequent_indent=" " * 12))
            print()
    return 0


def _card(card: Any) -> str:
    units = ", ".join(f"{term} ({unit})" for term, unit in card.units.items())
    facts = [
        f"needs   {', '.join(card.needs) or 'nothing of the teacher'}",
        f"links   {', '.join(card.links) or 'none'}",
        f"terms   {units}",
    ]
    return f"{card.name}\n\n{card.description}\n\n" + "\n".join(facts) + f"\n\n{card.config}"
