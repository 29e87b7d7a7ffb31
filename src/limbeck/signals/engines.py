"""Who computes a local teacher's answers while a bank is built: this process, or workers (``ray_engine.py``)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from limbeck.errors import ConfigError, UnknownNameError, UnreadableRowsError, nearest, some
from limbeck.signals.output import TeacherOutput
from limbeck.signals.pairing import Key
from limbeck.signals.rows import RowBatch
from limbeck.signals.teacher import Teacher

ENGINES = ("plain", "ray")


class Planned(NamedTuple):
    """Rows of one shard, and whether the teacher is to be asked about them (the shard is not there yet)."""

    shard: int
    rows: RowBatch
    ask: bool


Answered = Generator[tuple[Planned, TeacherOutput | None], None, None]
# Takes the batches in the order of the data and gives each back with the teacher's answer (``None`` where it was
# not asked), in the same order; it may read ahead by a few batches.
Engine = Callable[[Teacher, Iterator[Planned]], Answered]


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
    from limbeck.signals.ray_engine import ray_engine

    return partial(ray_engine, workers=workers or 2, resources=dict(worker_resources or {}))


def plain_engine(teacher: Teacher, batches: Iterator[Planned]) -> Answered:
    """Asks in this process, one batch after the other."""
    for batch in batches:
        with naming_keys(batch.rows.keys):
            output = teacher(batch.rows.inputs) if batch.ask else None
        yield batch, output


@contextmanager
def naming_keys(keys: Sequence[Key]) -> Iterator[None]:
    """Rows that a teacher cannot read are named by their keys."""
    try:
        yield
    except UnreadableRowsError as error:
        wrong = [keys[row] for row in error.rows]
        raise UnreadableRowsError(f"{error} Keys: {some(wrong)}.", error.rows) from error
