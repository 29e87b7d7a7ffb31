"""Who computes a local teacher's answers while a bank is built: the contract, and this process itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from limbeck.banks.engines.ahead import ahead, threads
from limbeck.banks.rows import RowBatch
from limbeck.errors import UnreadableRowsError, some
from limbeck.signals.key import Key
from limbeck.signals.output import TeacherOutput
from limbeck.signals.teacher import PreparesRows, SortsRows, Teacher


class Planned(NamedTuple):
    """Rows of one shard, and whether the teacher is to be asked about them (the shard is not there yet).

    Args:
        most: rows in one forward of a teacher that sorts them, else ``None``: all are one forward.
    """

    shard: int
    rows: RowBatch
    ask: bool
    most: int | None = None


Answered = Generator[tuple[Planned, TeacherOutput | None], None, None]
# Takes the batches in the order of the data and gives each back with the teacher's answer (``None`` where it was
# not asked), in the same order; it may read ahead by a few batches.
Engine = Callable[[Teacher, Iterator[Planned]], Answered]


def plain_engine(teacher: Teacher, batches: Iterator[Planned], workers: int = 0) -> Answered:
    """Asks in this process, one batch after the other.

    Args:
        workers: threads that prepare the batches to come, of a teacher that can (:class:`PreparesRows`), while the
            model answers this one; one batch more than threads is held ready.
    """
    if not workers or not isinstance(teacher, PreparesRows) or not _calls_both(teacher):
        for batch in batches:
            with naming_keys(batch.rows.keys):
                output = answer(teacher, batch.rows.inputs, batch.most) if batch.ask else None
            yield batch, output
        return
    with threads(workers) as pool:

        def begin(batch: Planned) -> Future[Any] | None:
            return pool.submit(teacher.prepare, batch.rows.inputs, batch.most) if batch.ask else None

        for batch, ready in ahead(batches, workers + 1, begin):
            with naming_keys(batch.rows.keys):
                output = None if ready is None else teacher.read(ready.result())
            yield batch, output


def _calls_both(teacher: Teacher) -> bool:
    """Whether its call still is ``read(prepare(...))``: a class derived from such a teacher may do more in its own."""
    home = {name: _home(teacher, name) for name in ("__call__", "prepare", "read")}
    return home["__call__"] >= max(home["prepare"], home["read"])


def _home(teacher: Teacher, name: str) -> int:
    """How far up among the classes of ``teacher`` a method is written."""
    classes = type(teacher).__mro__
    return next((i for i, kind in enumerate(classes) if name in vars(kind)), len(classes))


def answer(teacher: Teacher, inputs: Mapping[str, Any], most: int | None) -> TeacherOutput:
    """The teacher's answer, of one that sorts rows with ``most`` of them in a forward."""
    return teacher(inputs) if most is None else cast(SortsRows, teacher)(inputs, most)


@contextmanager
def naming_keys(keys: Sequence[Key]) -> Iterator[None]:
    """Rows that a teacher cannot read are named by their keys."""
    try:
        yield
    except UnreadableRowsError as error:
        wrong = [keys[row] for row in error.rows]
        raise UnreadableRowsError(f"{error} Keys: {some(wrong)}.", error.rows) from error
