"""Engines by name: this process (``plain_engine.py``), or workers (``ray_engine.py``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from limbeck.banks.engines.plain_engine import Engine, plain_engine
from limbeck.errors import ConfigError, UnknownNameError, nearest

ENGINES = ("plain", "ray")


def engine_named(name: str, workers: int | None, worker_resources: Mapping[str, float] | None) -> Engine:
    """The engine of a bank build.

    Args:
        name: ``plain`` or ``ray``.
        workers: of ``plain`` threads that decode the pictures and sounds to come while the model answers (0 = none;
            default one fewer than this process has cores, 1 to 8); of ``ray`` processes that hold the teacher (default
            2).
        worker_resources: what Ray reserves for each, ``{"num_cpus": 1, "num_gpus": 0, "memory": bytes}``;
            default one CPU core.

    Raises: UnknownNameError, ConfigError.
    """
    if name not in ENGINES:
        raise UnknownNameError(f"There is no engine {name!r}; {nearest(str(name), ENGINES)}")
    if name == "plain":
        if worker_resources:
            raise ConfigError(
                "worker_resources belong to engine='ray'; the plain engine asks in this process."
            )
        if workers is not None and workers < 0:
            raise ConfigError(f"workers must be at least 0; it is {workers}.")
        return partial(plain_engine, workers=_spare_cores() if workers is None else workers)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1; it is {workers}.")
    from limbeck.banks.engines.ray_engine import ray_engine

    return partial(ray_engine, workers=workers or 2, resources=dict(worker_resources or {}))


def _spare_cores() -> int:
    """Threads that decode beside the model: cores that it leaves, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores - 1, 1), 8)
