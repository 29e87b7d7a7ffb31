"""``limbeck data``: the data sets of recipes, and their settings."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from limbeck.commands.parser import Parser, print_json
from limbeck.errors import known_name


def command(arguments: Sequence[str]) -> int:
    from limbeck.data.cards import all_cards, data_card
    from limbeck.data.names import TASKS

    parser = Parser(
        prog="limbeck data",
        description="List the data sets that a recipe can name, or show the settings of one.",
        epilog="example:\n  limbeck data own",
    )
    parser.add_argument("name", nargs="?", help="a data set")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    cards = [data_card(known_name(values.name, TASKS))] if values.name is not None else all_cards()
    width = max(60, shutil.get_terminal_size().columns)
    if values.json:
        print_json([card._asdict() for card in cards])
    elif not values.name:
        for card in cards:
            print(
                textwrap.fill(
                    card.summary, width, initial_indent=f"{card.name:<14}", subsequent_indent=" " * 14
                )
            )
    else:
        card = cards[0]
        print(f"{card.name}\n\n{card.summary}\n")
        for setting, default in card.settings.items():
            print(f"  {setting:<22}{'(needed)' if default is None else default}")
        print("\nEvery data set also takes unpair: true, which permutes the pairs of a paired link.")
        print(f"\n{card.details}")
    return 0
