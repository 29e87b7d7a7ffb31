"""Somebody's own code, by the name ``MODULE:NAME``: found, imported, and told in one sentence where it fails."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError, OwnCodeError, UnknownNameError, nearest

_LONGEST = 200  # characters of what somebody's exception says


def callable_named(spec: str, what: str) -> Callable[..., Any]:
    """What ``MODULE:NAME`` names; its module is imported, which runs its code.

    Args:
        what: what it is for, for messages: ``the model``, ``--teacher``.

    Raises: UnknownNameError for a module or a name that is not there; OwnCodeError for a module that fails, with the
        line.
    """
    module_name, _, name = spec.partition(":")
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in parts) or not name:
        raise UnknownNameError(
            f"{what} {spec!r} is no MODULE:NAME, such as my_module:ask for ask in my_module.py; mend it."
        )
    try:
        with own_code(f"{what} {spec!r}", of_module(module_name)):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UnknownNameError(
            f"There is no module {error.name!r} for {what} {spec!r}; install it, or start where it lies."
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise UnknownNameError(f"{module_name} has no function {name!r}; {nearest(name, known)}")
    return found


@contextmanager
def own_code(what: str, is_its_own: Callable[[str], bool]) -> Iterator[None]:
    """Inside, an error that is none of ours becomes an :class:`OwnCodeError`.

    Args:
        what: is run, for the message: ``the model 'my_net:make'``.
        is_its_own: whether a file holds that code; the innermost such line is named, else the innermost of all.
    """
    try:
        yield
    except (LimbeckError, ModuleNotFoundError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit too: code of a script that leaves
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
        own = [f for f in frames if is_its_own(f.filename)]
        place = (own or [f for f in frames if "importlib" not in f.filename])[-1:]
        where = "".join(f" at {Path(f.filename).name}, line {f.lineno} ({f.name})" for f in place)
        said = " ".join(str(error).split())
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
        raise OwnCodeError(
            f"The code of {what} failed{where}: {type(error).__name__}{': ' * bool(said)}{said.rstrip('.')}."
        ) from error


def of_module(name: str) -> Callable[[str], bool]:
    """Whether a file is that of the module ``package.name``."""
    return lambda filename: Path(filename).stem == name.rpartition(".")[2]


def of_function(function: Any) -> Callable[[str], bool]:
    """Whether a file is the one in which a function, or the class of a callable, is written."""
    written = getattr(function, "__wrapped__", function)
    code = getattr(written, "__code__", None) or getattr(type(written).__call__, "__code__", None)
    home = getattr(code, "co_filename", "")
    return lambda filename: filename == home
