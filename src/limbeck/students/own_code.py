"""Somebody's own code, by the name ``MODULE:NAME``: found, imported, and told in one sentence where it fails."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, nearest

_LONGEST = 200  # characters of what somebody's exception says


def callable_named(spec: str, what: str) -> Callable[..., Any]:
    """What ``MODULE:NAME`` names; its module is imported, which runs its code.

    Args:
        what: what it is for, for messages: ``the model``, ``--teacher``.

    Raises: UnknownNameError for a module or a name that is not there; ConfigError for a module that fails, with the
        line.
    """
    module_name, _, name = spec.partition(":")
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in parts) or not name:
        raise UnknownNameError(
            f"{what} {spec!r} is no MODULE:NAME, such as my_module:ask for ask in my_module.py; mend it."
        )
    try:
        with told(f"{what} {spec!r}", module_name):
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
def told(what: str, module: str, *, only: bool = False) -> Iterator[None]:
    """What fails in somebody's own code, as one sentence: the line, and what it said.

    Args:
        what: whose code it is, ``the model 'nets:make'``.    module: where it lies, dotted.
        only: errors that did not pass through that module go on as they are.
    """
    try:
        yield
    except (LimbeckError, ModuleNotFoundError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit too: code of a script that leaves
        home = Path(__file__).parent
        frames = list(traceback.extract_tb(error.__traceback__))
        frames = [f for f in frames if not Path(f.filename).is_relative_to(home)]
        own = [f for f in frames if Path(f.filename).stem == module.rpartition(".")[2]]
        if only and not own:
            raise
        place = (own or [f for f in frames if "importlib" not in f.filename])[-1:]
        where = "".join(f" at {Path(f.filename).name}, line {f.lineno} ({f.name})" for f in place)
        said = " ".join(str(error).split())
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
        raise ConfigError(
            f"The code of {what} failed{where}: {type(error).__name__}{': ' * bool(said)}{said.rstrip('.')}."
        ) from error
