"""What a user's terminal shows besides results: our warnings as sentences, and nothing from other libraries."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from limbeck.errors import one_line

# Read by the libraries when they are imported; a user's own setting wins.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}


class _Sentences(logging.Handler):
    """``limbeck: SENTENCE`` on the standard error of the moment, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"limbeck: {one_line(self.format(record))}", file=sys.stderr)


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
    print(f"limbeck: {one_line(str(message))}", file=sys.stderr)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops what Ctrl-C stops, in the same places."""


@contextmanager
def told_of_sigterm() -> Iterator[None]:
    """Inside, the first SIGTERM raises :class:`Terminated`; a second one ends the process.

    Not in one of several processes (``torchrun``), whose launcher ends all of them together, nor beside another
    handler.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    in_main = threading.current_thread() is threading.main_thread()
    if not (alone and in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner while ``what`` goes on whose length nobody knows, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield
