"""Engines by name: this process (``plain_engine.py``), or workers (``ray_engine.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from limbeck.banks.engines.plain_engine import Engine, plain_engine
from limbeck.errors import ConfigError, UnknownNameError, nearest

ENGINES = ("plain", "ray")


def engine_named(name: str, workers: int | None, worker_resources: Mapping[str, float] | None) -> Engine:
    """The engine of a bank build.

    Args:
        name: ``plain`` or ``ray``.
        workers: processes that hold the teacher, ``ray`` only; default 2.
        worker_resources: what Ray reserves for each, ``{"num_cpus": 1, "num_gpus": 0, "memory": bytes}``;
            default one CPU core.

    Raises: UnknownNameError, ConfigError.
    """
    if name not in ENGINES:
        raise UnknownNameError(f"There is no engine {name!r}; {nearest(str(name), ENGINES)}")
    if name == "plain":
        if workers not in (None, 1) or worker_resources:
            raise ConfigError("workers belong to engine='ray'; the plain engine asks in this process.")
        return plain_engine
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1; it is {workers}.")
    from limbeck.banks.engines.ray_engine import ray_engine

    return partial(ray_engine, workers=workers or 2, resources=dict(worker_resources or {}))
