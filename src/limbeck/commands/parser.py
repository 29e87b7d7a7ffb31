"""The parser that all subcommands share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from limbeck.errors import ConfigError, LimbeckError, nearest
from limbeck.files import usable_name

_DIGITS = 20


class WrongUse(LimbeckError):
    """The command line cannot be understood; exit code 2."""


class Parser(argparse.ArgumentParser):
    """Wrong use is an error of ours, so that every message has the same form; no abbreviations."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs |= {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        raise WrongUse(f"{message}; see `{self.prog} --help`.")

    def add_trust_code(self) -> None:
        """The option that lets names ``MODULE:FACTORY`` of a recipe be imported."""
        self.add_argument(
            "--trust-code", action="store_true", help="import a model MODULE:FACTORY, which runs its code"
        )

    def check_unknown(self, unknown: Sequence[str]) -> None:
        flags = [option for action in self._actions for option in action.option_strings]
        if unknown:
            name = unknown[0].partition("=")[0]
            raise WrongUse(f"There is no option {name!r} of `{self.prog}`; {nearest(name, flags)}")


def add_no_verify(parser: argparse.ArgumentParser) -> None:
    """The option of commands that read banks."""
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="do not read huge banks through before the start; damage may then pass for what a teacher said",
    )


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, None)


def at_most(most: int) -> Callable[[str], int]:
    """The type of a whole number from 1 to ``most``."""

    def number(text: str) -> int:
        return _whole(text, most)

    number.__name__ = "whole number"
    return number


def _whole(text: str, most: int | None) -> int:
    if len(text) > _DIGITS:  # longer ones take Python long to read, and are shown to nobody
        raise argparse.ArgumentTypeError(f"has too many digits; give at most {most or 10**9:,}")
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; it is {number}")
    if most is not None and number > most:
        raise argparse.ArgumentTypeError(f"must be at most {most:,}; it is {number}")
    return number


positive.__name__ = "whole number"  # argparse says "invalid whole number value: 'x'"


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1; it is {text}")
    return number


share.__name__ = "number"


def parse_list(text: str) -> tuple[str, ...]:
    """``a,b`` as a tuple; empty entries are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_names(text: str) -> tuple[str, ...]:
    """``a,b`` as names, of which there is at least one and none comes twice."""
    names = parse_list(text)
    if not names:
        raise argparse.ArgumentTypeError("names nothing; give names as a,b")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise argparse.ArgumentTypeError(f"has {twice[0]!r} twice; give each name once")
    return names


def folder_name(text: str) -> str:
    """The name of a folder or file, which is not empty."""
    try:
        return usable_name(text, "the name")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def trusts_code(values: argparse.Namespace) -> bool:
    """Whether ``--trust-code`` was given; a module that lies where one starts is then found too."""
    if values.trust_code:
        find_own_modules()
    return bool(values.trust_code)


def find_own_modules() -> None:
    """From here on a module that lies where one starts is found."""
    sys.path.insert(0, os.getcwd())  # whole, since it is handed to the processes of a comparison


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))
