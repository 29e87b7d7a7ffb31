"""The parser that all subcommands share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from limbeck.errors import LimbeckError, nearest


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


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; it is {number}")
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


def trusts_code(values: argparse.Namespace) -> bool:
    """Whether ``--trust-code`` was given; a module that lies where one starts is then found too."""
    if values.trust_code:
        sys.path.insert(0, os.getcwd())  # whole, since it is handed to the processes of a comparison
    return bool(values.trust_code)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))
