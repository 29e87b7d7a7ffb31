"""The threads of a comparison's runs: the same number in one process and in several, since sums in another order are
other numbers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Numerical libraries read these when a process starts.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Processes that start inside have so many threads."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def one_of_many(threads: int) -> Iterator[None]:
    """A run inside has so many threads and logs errors alone: it keeps what it warns of, and among the warnings of
    others nobody would know whose they are."""
    import torch

    before, logger = torch.get_num_threads(), logging.getLogger("limbeck")
    level = logger.level
    torch.set_num_threads(threads)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        logger.setLevel(level)
