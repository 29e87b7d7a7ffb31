"""Whether a package is installed, asked once a training."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def packages_looked_up_once() -> Iterator[None]:
    """Inside, accelerate remembers whether the optimisers of ``lomo_optim`` are installed; it looks through all folders
    of ``sys.path`` twice in every step otherwise, which takes as long as the backward pass of a small net."""
    from accelerate import optimizer

    before = optimizer.is_lomo_available
    optimizer.is_lomo_available = functools.cache(before)
    try:
        yield
    finally:
        optimizer.is_lomo_available = before
