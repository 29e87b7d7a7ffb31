"""``limbeck methods``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from limbeck.commands.parser import Parser, print_json
from limbeck.errors import known_name

if TYPE_CHECKING:
    from limbeck.methods.cards import MethodCard


def command(arguments: Sequence[str]) -> int:
    from limbeck.methods.cards import all_cards, method_card
    from limbeck.methods.registry import method_names

    parser = Parser(
        prog="limbeck methods",
        description="List the methods and presets, or show one card: paper, equations, needs, links, settings.",
        epilog="example:\n  limbeck methods bagkd",
    )
    parser.add_argument("name", nargs="?", help="a method")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    cards = [method_card(known_name(values.name, method_names()))] if values.name else all_cards()
    if values.json:
        print_json([asdict(card) for card in cards])
    elif values.name:
        print(_card(cards[0]))
    else:
        width = shutil.get_terminal_size().columns
        for card in cards:
            row = "" if card.row is None else f"row {card.row}; "
            for text in (card.summary, f"{row}links: {', '.join(card.links) or 'none'}"):
                name = card.name if text == card.summary else ""
                print(textwrap.fill(text, width, initial_indent=f"{name:<12}", subsequent_indent=" " * 12))
            print()
    return 0


def _card(card: MethodCard) -> str:
    units = ", ".join(f"{term} ({unit})" for term, unit in card.units.items())
    facts = [
        f"needs     {', '.join(card.needs) or 'nothing of the teacher'}",
        f"links     {', '.join(card.links) or 'none'}",
        f"problems  {', '.join(card.problems) or 'any'}",
        f"terms     {units}",
    ]
    if card.family:
        fixed = ", ".join(f"{name}={value}" for name, value in (card.fixed or {}).items())
        facts = [
            f"preset    of {card.family}{f' with {fixed}' if fixed else ''}",
            f"paper     {card.paper}",
            *facts,
        ]
    width = max((len(setting.name) for setting in card.settings), default=0)
    settings = [
        textwrap.fill(
            f"{s.name:<{width}}  {s.default}: {s.text}" + (f" {s.interval}" if s.interval else ""),
            max(60, shutil.get_terminal_size().columns),
            subsequent_indent=" " * (width + 2),
        )
        for s in card.settings
    ]
    return "\n\n".join([card.name, card.description, "\n".join(facts), "settings\n" + "\n".join(settings)])
