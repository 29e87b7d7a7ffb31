"""The command line: find the subcommand, call it, and turn errors into one sentence and an exit code.

Exit codes: 0 ok, 1 failed, 2 wrong use. ``--debug`` shows the traceback. Heavy imports come with the work, so that
``--help``, ``methods`` and a wrong subcommand answer at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from limbeck import __version__
from limbeck.commands.parser import WrongUse
from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, nearest

PROGRAM = "limbeck"
# Subcommand (a file in limbeck/commands) to what it does.
COMMANDS: dict[str, str] = {
    "demo": "the main job on an embedded data set, end to end; ends with its report",
    "bank": "ask a teacher once and keep what it says: build, info, verify, delete",
    "distill": "train a student from a recipe",
    "report": "(re)build the HTML report of a run or a comparison",
    "predict": "use an exported student",
    "methods": "list the methods, or show one card",
}


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
        print(
            f"{PROGRAM}: the package {error.name!r} is missing; install it or the extra that has it.",
            file=sys.stderr,
        )
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
    return importlib.import_module(f"limbeck.commands.{command}").command(rest)


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, text in COMMANDS.items()]
    return (
        f"{PROGRAM} {__version__}: cross-modal knowledge distillation\n\nusage: {PROGRAM} COMMAND [OPTIONS]\n\n"
        + "\n".join(lines)
        + f"\n\nexample:\n  {PROGRAM} demo --quick\n\n"
        f"`{PROGRAM} COMMAND --help` tells a command's options; --debug shows the traceback of an error."
    )


if __name__ == "__main__":
    sys.exit(main())
