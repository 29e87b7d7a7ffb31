"""``limbeck methods``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from limbeck.commands.parser import Parser, print_json
from limbeck.errors import UnknownNameError, known_name, nearest

if TYPE_CHECKING:
    from limbeck.methods.cards import MethodCard
    from limbeck.methods.systems import System


def command(arguments: Sequence[str]) -> int:
    from limbeck.methods.cards import all_cards, method_card
    from limbeck.methods.registry import method_names

    parser = Parser(
        prog="limbeck methods",
        description="List the methods and presets, or show one card: paper, equations, needs, links, settings.",
        epilog="example:\n  limbeck methods bagkd\n  limbeck methods --systems",
    )
    parser.add_argument("name", nargs="?", help="a method")
    parser.add_argument(
        "--systems", action="store_true", help="the published systems, and what each of them has here"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    if values.systems:
        return _systems(values.name, as_json=values.json)
    name = values.name
    cards = [method_card(known_name(name, method_names()))] if name is not None else all_cards()
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


def _systems(name: str | None, *, as_json: bool) -> int:
    from limbeck.methods.systems import state_counts, systems

    # a name with --systems: the systems that this method or preset is, or serves
    found = tuple(system for system in systems() if name in (None, system.preset))
    if name is not None and not found:
        raise UnknownNameError(
            f"No system is served by {name!r}; {nearest(name, {s.preset for s in systems() if s.preset})}"
        )
    if as_json:
        print_json([system.shown() for system in found])
        return 0
    width = max(60, shutil.get_terminal_size().columns)
    for system in found:
        print(_system(system, width))
    print("\n" + ", ".join(f"{n} {state}" for state, n in state_counts(found).items() if n))
    return 0


def _system(system: System, width: int) -> str:
    facts = [
        system.name,
        f"limbeck methods {system.preset}" if system.preset else "",
        system.test,
        system.remark,
    ]
    text = "; ".join(fact for fact in facts if fact)
    start = f"{system.row or '-':<5}{system.state:<14}"
    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * len(start))


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
    if card.row is not None:
        facts.append(
            f"system    row {card.row} of the published systems (limbeck methods {card.name} --systems)"
        )
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
