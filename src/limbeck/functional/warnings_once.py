"""Warnings given once for each line of the caller's code, so that a training loop is told and not flooded."""

from __future__ import annotations

import re
import sys
import warnings

_given: set[tuple[str, int, str]] = set()
_OURS = __name__.rpartition(".")[0]


def warn_once(message: str) -> None:
    """Warn at the first frame outside this package, once for each line there and kind of message."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and _inside(frame.f_globals.get("__name__", "")):
        frame, depth = frame.f_back, depth + 1
    kind = re.sub(r"[\d.]+(e[+-]?\d+)?", "", message)  # the numbers differ from step to step
    site = (frame.f_code.co_filename, frame.f_lineno, kind)
    if site not in _given:
        _given.add(site)
        warnings.warn(message, RuntimeWarning, stacklevel=depth)


def _inside(module: str) -> bool:
    return module == _OURS or module.startswith((_OURS + ".", "torch."))
