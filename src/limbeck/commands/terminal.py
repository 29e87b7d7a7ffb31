"""What a user's terminal shows besides results: our warnings as sentences, and nothing from other libraries."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Read by the libraries when they are imported; a user's own setting wins.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}


class _Sentences(logging.Handler):
    """``limbeck: SENTENCE`` on the standard error of the moment, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"limbeck: {self.format(record)}", file=sys.stderr)


def quiet_libraries() -> None:
    """Keep the chatter of libraries off the terminal; ``python -W`` brings their warnings back."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logger = logging.getLogger("limbeck")
    if not any(isinstance(handler, _Sentences) for handler in logger.handlers):
        logger.addHandler(_Sentences())
        logger.propagate = False
    if not sys.warnoptions:
        warnings.filterwarnings("ignore")
        warnings.filterwarnings("default", module=r"limbeck(\.|$)")
        warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"limbeck: {message}", file=sys.stderr)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner while ``what`` goes on whose length nobody knows, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield
