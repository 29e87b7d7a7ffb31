"""Tasks by name, for recipes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from limbeck.data.base import Task
from limbeck.errors import ConfigError, UnknownNameError, nearest

# Name to the module of :mod:`limbeck.data` and the function in it that makes the task.
TASKS: dict[str, tuple[str, str]] = {
    "av_digits": ("av_digits", "av_digits"),
    "emoji": ("emoji", "emoji"),
    "folders": ("two_folders", "two_folders"),
    "glue": ("glue", "glue"),
    "texts": ("text_table", "text_table"),
    "vec": ("vec", "vec"),
}


def make_task(name: str, config: Mapping[str, Any] | None = None, *, seed: int = 0) -> Task:
    """The task ``name`` with the settings ``config``; ``seed`` is the run's, unless the config has its own.

    Raises: UnknownNameError for a task, ConfigError for a setting, that does not exist; with the nearest
    ones.
    """
    if name not in TASKS:
        raise UnknownNameError(f"There is no data set {name!r}; {nearest(name, TASKS)}")
    module, function = TASKS[name]
    make = getattr(importlib.import_module(f"limbeck.data.{module}"), function)
    known = inspect.signature(make).parameters
    for key in config or {}:
        if key not in known:
            raise ConfigError(f"Data set {name!r} has no setting {key!r}; {nearest(key, known)}")
    return make(**({"seed": seed} if "seed" in known else {}) | dict(config or {}))
