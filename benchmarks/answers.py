"""Asking a server with latency: seconds for all requests, against the ideal of requests / in flight * latency.

    python benchmarks/answers.py [--requests 2000] [--in-flight 32] [--latency 0.05] [--repeats 5]

The server is a process of its own on this machine and sleeps for the latency; every run has a fresh store. Beside
the whole (embeddings, one text a request, each answer kept on arrival) it times the engine with a teacher that only
sleeps, which shows what the engine itself costs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from teachers.fault_server import FaultServer

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.banks.left_out import RowBatches
from limbeck.banks.rows import RowColumns
from limbeck.teachers.api.asking import ask_all
from limbeck.teachers.api.limits import Limits
from limbeck.teachers.api.questions import Question, Reply
from limbeck.teachers.api.teacher import APITeacher


def through_http(folder: Path, n: int, limits: Limits, latency: float) -> float:
    rows = RowBatches([{"id": i, "text": f"text {i}"} for i in range(n)], RowColumns())
    with FaultServer(folder, latency) as server:
        teacher = APITeacher(
            "small",
            base_url=server.url,
            licence="unknown",
            limits=limits,
            store=folder / "answers.sqlite",
            inputs_per_request=1,
            probe=0,
        )
        teacher.server.load()  # importing takes as long as some hundred requests; once a process
        start = time.perf_counter()
        missing = teacher.collect(rows, lambda *_, **__: None)
        seconds = time.perf_counter() - start
        assert not missing
        assert len(server.answered()) == n
        return seconds


def engine_alone(folder: Path, n: int, limits: Limits, latency: float) -> float:
    async def send(questions: Sequence[Question]) -> Reply:
        await asyncio.sleep(latency)
        return Reply([Answer({"n": question.payload}) for question in questions])

    with AnswerStore(folder / "answers.sqlite") as store:
        start = time.perf_counter()
        outcome = ask_all((Question(str(i), i) for i in range(n)), send, store, limits)
        seconds = time.perf_counter() - start
    assert outcome.answered == n
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=5)
    values = parser.parse_args()
    ideal = values.requests / values.in_flight * values.latency
    print(f"ideal {ideal:.2f} s")
    arms: dict[str, Callable[..., float]] = {"engine alone": engine_alone, "through HTTP": through_http}
    times: dict[str, list[float]] = {name: [] for name in arms}
    own: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(values.repeats):
        for name, arm in arms.items():
            with tempfile.TemporaryDirectory() as folder:
                limits = Limits(concurrency=values.in_flight)
                start = time.process_time()  # of the client: the server is a process of its own
                times[name].append(arm(Path(folder), values.requests, limits, values.latency))
                own[name].append((time.process_time() - start) / values.requests * 1e3)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        every = ", ".join(f"{value:.2f}" for value in seconds)
        print(
            f"{name:<14}median {median:.2f} s = {median / ideal:.2f} x ideal   ({every});  "
            f"{statistics.median(own[name]):.2f} ms of processor time a request"
        )


if __name__ == "__main__":
    main()
