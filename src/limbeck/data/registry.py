"""Tasks by name, for recipes."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Mapping
from typing import Any

from limbeck.data.names import OF_EVERY_TASK, TASKS
from limbeck.data.task import Task
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.seeding import check_seed


def make_task(name: str, config: Mapping[str, Any] | None = None, *, seed: int = 0) -> Task:
    """The task ``name`` with the settings ``config``; ``seed`` is the run's, unless the config has its own.

    A text such as ``$LIMBECK_DATA/emoji`` takes the value of that environment variable. Every data set has the setting
    ``unpair: true`` beside its own, which permutes the pairs (:func:`~limbeck.data.unpaired.index_shuffled`).

    Raises: UnknownNameError for a task, ConfigError for a setting, that does not exist, with the nearest ones, and
    for a setting or a variable that is missing; LinkError for ``unpair`` where nothing is paired.
    """
    config = dict(config or {})
    unpair = config.pop("unpair", False)
    if not isinstance(unpair, bool):
        raise ConfigError(f"unpair={unpair!r} must be true or false.")
    if name not in TASKS:
        raise UnknownNameError(f"There is no data set {name!r}; {nearest(name, TASKS)}")
    module, function = TASKS[name]
    make = getattr(importlib.import_module(f"limbeck.data.{module}"), function)
    known = inspect.signature(make).parameters
    for key in config:
        if key not in known:
            raise ConfigError(
                f"Data set {name!r} has no setting {key!r}; {nearest(key, [*known, *OF_EVERY_TASK])}"
            )
    settings = {key: _expanded(value) for key, value in config.items()}
    if "seed" in known and "seed" in settings:
        check_seed(settings["seed"], "data.config.seed")
    missing = [p.name for p in known.values() if p.default is p.empty and p.name not in settings]
    if missing:
        raise ConfigError(f"Data set {name!r} needs the setting {missing[0]!r}; add it to data.config.")
    settings = ({"seed": seed} if "seed" in known else {}) | settings
    task = make(**settings)
    if not unpair:
        return task
    from limbeck.data.unpaired import index_shuffled

    return index_shuffled(task, settings.get("seed", seed))


def _expanded(value: Any) -> Any:
    """A text with its environment variables; other values as they are."""
    if not isinstance(value, str):
        return value
    text = os.path.expandvars(value)
    left = re.search(r"\$\w+|\$\{\w+\}", text)
    if left:
        raise ConfigError(
            f"{value!r} names the environment variable {left[0]}, which is not set; set it, or write the path itself."
        )
    return text
