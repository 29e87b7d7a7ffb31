"""The command line: find the subcommand, call it, and turn errors into one sentence and an exit code.

Exit codes: 0 ok, 1 failed, 2 wrong use, 130 interrupted, 143 stopped by SIGTERM. ``--debug`` shows the traceback too.
Heavy imports come with the work, so that ``--help``, ``methods`` and a wrong subcommand answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from limbeck import __version__
from limbeck.commands.parser import WrongUse
from limbeck.commands.terminal import Terminated, quiet_libraries, told_of_sigterm
from limbeck.errors import (
    ConfigError,
    LimbeckError,
    MachineError,
    UnknownNameError,
    known_name,
    machine_error,
    nearest,
)

PROGRAM = "limbeck"
WRONG_USE = (WrongUse, ConfigError, UnknownNameError)
# What to do after Ctrl-C, where something was kept.
AFTER_INTERRUPT = {
    "demo": "the same command goes on where it stopped.",
    "bank": "the same command goes on where it stopped.",
    "chain": "the same command goes on where it stopped.",
    "compare": "the same command goes on where it stopped.",
    "distill": "with --resume it goes on from its last checkpoint, if there is one yet.",
}
# Subcommand (a file in limbeck/commands) to what it does.
COMMANDS: dict[str, str] = {
    "demo": "the main job on an embedded data set, end to end, with a report",
    "bank": "ask a teacher once and keep what it says: build, import, info, verify, delete",
    "data": "list the data sets of recipes, or show the settings of one",
    "diagnose": "tell before training whether a teacher can help",
    "distill": "train a student from a recipe",
    "chain": "train in stages: each starts from, or is taught by, an earlier one",
    "recipes": "list the recipes and chains that ship",
    "compare": "methods x controls x seeds: did the teacher help?",
    "report": "(re)build the HTML report of a run or a comparison",
    "predict": "use an exported student",
    "eval": "score a student that writes on tasks of lm-evaluation-harness",
    "export": "write a student as ONNX",
    "methods": "list the methods, or show one card",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    quiet_libraries()
    try:
        with told_of_sigterm():
            code = _dispatch(arguments)
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has seen enough; the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        is_term = isinstance(stop, Terminated)
        how = "stopped (SIGTERM)" if is_term else "interrupted"
        print(f"{PROGRAM}: {how}; {AFTER_INTERRUPT.get(arguments[0], 'start again.')}", file=sys.stderr)
        return 143 if is_term else 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"{PROGRAM}: {_sentence(error)}", file=sys.stderr)
        return 2 if isinstance(error, WRONG_USE) else 1


def _sentence(error: Exception) -> str:
    """What went wrong, for somebody who does not know the code."""
    if isinstance(error, LimbeckError):
        cause = None if isinstance(error, MachineError) else machine_error(error.__cause__)
        return str(error if cause is None or cause.filename is None else cause)
    if (found := machine_error(error)) is not None:
        return str(found)
    if isinstance(error, ImportError) and error.name and not error.name.startswith(PROGRAM):
        return f"The package {error.name!r} is missing; install it or the extra that has it."
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename:
        return f"{error.filename} is a file where a folder is needed; choose another path."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename} cannot be used ({error.strerror.lower()}); choose another path or mend this one."
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}{': ' * bool(text)}{text} (not foreseen; --debug shows where)"


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    command, rest = known_name(arguments[0], COMMANDS), arguments[1:]
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
        f"`{PROGRAM} COMMAND --help` tells a command's options;\n--debug shows the traceback of an error."
    )


if __name__ == "__main__":
    sys.exit(main())
