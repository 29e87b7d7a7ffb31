"""What fails in somebody's own code, as one sentence: the function, its line, and what it said."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError, OwnCodeError


@contextmanager
def own_code(what: str, is_its_own: Callable[[str], bool]) -> Iterator[None]:
    """Inside, an error that is none of ours becomes an :class:`OwnCodeError`.

    Args:
        what: is run, for the message: ``the model 'my_net:make'``.
        is_its_own: whether a file holds that code; the innermost such line is named, else the innermost of all.
    """
    try:
        yield
    except (LimbeckError, ModuleNotFoundError):
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
        own = [f for f in frames if is_its_own(f.filename)]
        where = "".join(
            f" at {Path(f.filename).name}, line {f.lineno} ({f.name})" for f in (own or frames)[-1:]
        )
        text = " ".join(str(error).split()).rstrip(".")
        raise OwnCodeError(
            f"The code of {what} failed{where}: {type(error).__name__}{': ' * bool(text)}{text}."
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
