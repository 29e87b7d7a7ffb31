"""A local teacher on many machines: Ray Data runs it in worker processes, each of which loads it once."""

from __future__ import annotations

import io
import logging
import os
import pickle
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from limbeck.banks.engines.ahead import ahead
from limbeck.banks.engines.plain_engine import Answered, Planned, answer, naming_keys
from limbeck.errors import BankError, ConfigError, LimbeckError, UnknownNameError, nearest
from limbeck.signals.output import TeacherOutput
from limbeck.signals.teacher import Teacher

RESOURCES = ("num_cpus", "num_gpus", "memory")
_AHEAD = 4  # batches a worker that are read before their turn: enough to keep it busy, few enough to hold


def ray_engine(
    teacher: Teacher, batches: Iterator[Planned], workers: int, resources: Mapping[str, float]
) -> Answered:
    """Asks ``teacher`` in ``workers`` processes; answers come in the order of ``batches``.

    The data are read here and streamed: at most four batches a worker are on their way at any time. Ray is
    started on this machine unless it runs already (``ray.init(address=...)`` joins a cluster), and only when
    there is something to ask; what was started here is stopped in the end.

    Args:
        workers: processes, each with its own copy of the teacher, on the device that the teacher is on here.
        resources: what Ray reserves for a worker: ``num_cpus`` (default 1; also its threads), ``num_gpus``,
            ``memory`` in bytes.

    Raises: ConfigError: Ray is not installed; a teacher that asks a server or cannot be sent to a worker; more
        workers than there is room for.    BankError: the teacher failed on a worker, or the worker died.
    """
    _check(teacher, resources)
    with closing(_Workers(teacher, workers, {"num_cpus": 1, **resources})) as pool:

        def begin(batch: Planned) -> None:
            if batch.ask:
                pool.send(batch.rows.inputs, batch.most)

        for batch, _ in ahead(batches, _AHEAD * workers, begin, end=lambda: pool.send(None)):
            yield batch, pool.receive(batch) if batch.ask else None


def _check(teacher: Teacher, resources: Mapping[str, float]) -> None:
    if hasattr(teacher, "collect"):
        raise ConfigError(
            f"A {type(teacher).__name__} runs its own requests side by side; leave out engine='ray' and set its "
            "concurrency."
        )
    for name in resources:
        if name not in RESOURCES:
            raise UnknownNameError(f"A worker has no resource {name!r}; {nearest(name, RESOURCES)}")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ConfigError("engine='ray' needs Ray Data; pip install 'limbeck[ray]'.") from error


class _Workers:
    """The teacher in several processes: inputs go in through a queue, answers come out in their order."""

    def __init__(self, teacher: Teacher, size: int, resources: Mapping[str, float]) -> None:
        self._teacher, self._size, self._resources = teacher, size, resources
        self._queue: Any = None
        self._answers: Iterator[Any] = iter(())
        self._started_ray = False

    def send(self, inputs: Mapping[str, Any] | None, most: int | None = None) -> None:
        """Inputs of the next batch with the rows of one forward, or ``None`` after the last."""
        if self._queue is None:
            if inputs is None:  # nothing was to be asked
                return
            self._start()
        # a slice of a data set would be pickled with the memory that it is a slice of
        own = (
            None
            if inputs is None
            else {n: v.clone() if hasattr(v, "clone") else v for n, v in inputs.items()}
        )
        self._queue.put(None if own is None else pickle.dumps((own, most)))

    def receive(self, batch: Planned) -> TeacherOutput:
        """The answer to the first batch that was sent and not yet received."""
        from ray.exceptions import RayError

        try:
            output, error, trace = pickle.loads(next(self._answers)["answer"][0])
        except (RayError, StopIteration) as lost:
            raise BankError(
                f"The Ray workers stopped before the batch that starts at key {batch.rows.keys[0]!r} was answered "
                f"({_first_line(lost)}); look at Ray's logs, give each worker more memory (worker_resources), and "
                "run the build again: it goes on where it stopped."
            ) from lost
        if isinstance(error, LimbeckError):
            with naming_keys(batch.rows.keys):
                raise error
        if output is None:
            last = trace.strip().splitlines()[-1]
            raise BankError(
                f"The teacher failed on a Ray worker for the batch that starts at key {batch.rows.keys[0]!r}: {last}"
            ) from RuntimeError(trace)
        return output

    def _start(self) -> None:
        import ray
        from ray.util.queue import Queue

        if not ray.is_initialized():
            _start_ray()
            self._started_ray = True
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        self._check_room()
        teacher = ray.put(np.frombuffer(_pickled(self._teacher), dtype=np.uint8))  # workers map it, uncopied
        self._queue = Queue(actor_options={"num_cpus": 0})
        self._answers = _stream(self._queue, teacher, self._size, self._resources)

    def _check_room(self) -> None:
        import ray

        there = ray.cluster_resources()
        for name, kind in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
            needed = self._size * self._resources.get(name, 0)
            if needed > there.get(kind, 0):
                raise ConfigError(
                    f"{self._size} workers need {needed:g} {kind}s, but Ray has {there.get(kind, 0):g}; ask for fewer "
                    f"workers, or for less a worker (worker_resources={{{name!r}: ...}})."
                )

    def close(self) -> None:
        """Stop the workers, and Ray if it was started here."""
        import ray

        self._answers = iter(())
        if self._queue is not None:
            self._queue.shutdown(force=True)
        if self._started_ray:
            ray.shutdown()


def _start_ray() -> None:
    """Ray on this machine (or that of ``RAY_ADDRESS``), without dashboard, usage reports or workers' output."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def _pickled(teacher: Teacher) -> bytes:
    """With functions by value, so that a lambda or a function of the user's script reaches the workers."""
    from ray import cloudpickle

    class Pickler(cloudpickle.CloudPickler):
        def reducer_override(self, value: Any) -> Any:
            # transformers hooks a model that was asked for hidden states; the hooks find what they fill in a variable
            # of its module, of which the worker has its own
            if type(value).__name__ == "CompileableContextVar":
                return getattr, (import_module(type(value).__module__), "_active_collector")
            return super().reducer_override(value)

    memory = io.BytesIO()
    try:
        Pickler(memory).dump(teacher)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ConfigError(
            f"This teacher cannot be sent to a Ray worker ({_first_line(error)}); let it open files, locks and "
            "connections when it is first called, or use engine='plain'."
        ) from error
    return memory.getvalue()


def _stream(queue: Any, teacher: Any, size: int, resources: Mapping[str, float]) -> Iterator[Any]:
    """One row ``{"answer": [bytes]}`` for each batch in the queue, in its order."""
    import pyarrow as pa
    import ray
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    def read() -> Iterator[pa.Table]:
        while (inputs := queue.get()) is not None:
            yield pa.table({"inputs": [inputs]})

    class FromQueue(Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
            nothing_known = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(read, nothing_known)]  # a single one: it streams

    rows = ray.data.read_datasource(FromQueue(), override_num_blocks=1, num_cpus=0)
    answers = rows.map_batches(
        _Asked,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=size),
        fn_constructor_args=([teacher],),  # in a list: each worker gets it by itself
        **dict(resources),
    )
    context = answers.context
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # a batch is sent on when it is there, not when many have gathered
    context.enable_progress_bars = context.print_on_execution_start = False
    return iter(answers.iter_batches(batch_size=1, prefetch_batches=0))


class _Asked:
    """The teacher in a worker process. Its errors travel as answers, so that Ray does not wrap them."""

    def __init__(self, teacher: list[Any]) -> None:
        self._reference, self._head_sent = teacher[0], False
        self._teacher: Teacher | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        try:
            return {"answer": [pickle.dumps((self._answer(*pickle.loads(batch["inputs"][0])), None, ""))]}
        except Exception as error:
            kept = error if isinstance(error, LimbeckError) else None  # others may not survive pickling
            return {"answer": [pickle.dumps((None, kept, traceback.format_exc()))]}

    def _answer(self, inputs: dict[str, Any], most: int | None) -> TeacherOutput:
        import ray

        if self._teacher is None:
            self._teacher = pickle.loads(ray.get(self._reference))
        output = answer(self._teacher, inputs, most).map_tensors(lambda value: value.detach().cpu().clone())
        if self._head_sent or self._teacher.head is None:
            return output
        self._head_sent = True  # once is enough
        return replace(output, head=self._teacher.head)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
