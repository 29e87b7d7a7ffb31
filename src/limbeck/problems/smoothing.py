"""Label smoothing as a setting of a method, for the problems that know it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limbeck.errors import ConfigError
from limbeck.problems.base import Problem


def smoothed(problem: Problem, share: float) -> Problem:
    """The problem with labels smoothed by ``share``; itself for 0.

    Raises: ConfigError for a problem without classes.
    """
    if not share:
        return problem
    if "label_smoothing" not in problem.__dataclass_fields__:
        raise ConfigError(f"Label smoothing is for classes; set label_smoothing to 0 for a {problem.kind}.")
    changes: dict[str, Any] = {"label_smoothing": share}
    return replace(problem, **changes)
