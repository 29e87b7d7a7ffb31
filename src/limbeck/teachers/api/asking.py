"""Asking a server many questions: concurrently, within limits, each answer kept the moment it arrives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.files import refuse_links, writing
from limbeck.teachers.api.limits import Limits, Spent
from limbeck.teachers.api.outcome import Outcome
from limbeck.teachers.api.questions import Question, Send
from limbeck.teachers.api.scheduling import Scheduler
from limbeck.teachers.api.sending import Sender

__all__ = ["Outcome", "ask_all", "asking_lock"]

GRACE = 5.0  # seconds for the answers that are on their way when asking is interrupted


def ask_all(
    questions: Iterable[Question],
    send: Send,
    store: AnswerStore,
    limits: Limits | None = None,
    *,
    endpoint: str = "",
    model: str = "",
    per_request: int = 1,
    spent: Spent | None = None,
    close: Callable[[], Awaitable[Any]] | None = None,
    on_progress: Callable[[int, Spent], None] | None = None,
    useless: Callable[[Answer], str | None] | None = None,
    alive: Callable[[], Awaitable[bool]] | None = None,
) -> Outcome:
    """Ask what the store does not know yet, and keep every answer in it at once.

    Equal questions are asked once. Failed requests are repeated with exponential back-off and jitter, later
    if the server says so (``Retry-After``, which holds for all requests). What fails in every try is halved down to
    the questions that are to blame, and these are asked once more at the end and then left out. A server that stays
    silent, a spent budget or a wrong key end the asking; what is in flight then is awaited and kept. Works inside a
    running event loop too (a notebook). Take :func:`asking_lock` around it where two processes may ask the same.

    Args:
        questions: read as they are needed.
        send: sends the questions of one request; runs in an event loop of its own.
        endpoint, model: noted beside each answer, and named in messages.
        per_request: how many questions ``send`` is given at most.
        spent: the run so far, whose budget this asking shares.
        close: awaited at the end, in the same loop (closes a client).
        on_progress: called with the number of questions settled and what was spent.
        useless: why a kept answer is none by today's reading, ``None`` if it is one.
        alive: whether the server is there at all, asked when a request got no answer in any try; without it such a
            server counts as gone.
    """
    sender = Sender(send, limits or Limits(), spent or Spent(), endpoint)
    course = Scheduler(sender, store, endpoint, model, on_progress, useless, alive)
    _run(lambda: course.run(questions, per_request, close), sender.stop_from_outside)
    return course.outcome


@contextmanager
def asking_lock(store: AnswerStore, name: str) -> Iterator[None]:
    """One process at a time asks the teacher ``name`` for this store; another one waits, and then finds the
    answers there. The lock of a killed process is free at once."""
    from filelock import FileLock, Timeout

    path = store.lock_path(name)
    refuse_links(path)
    lock = FileLock(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger("limbeck").warning("Another process asks %s; waiting for its answers.", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _run(coroutine: Callable[[], Any], stop: Callable[[str], None]) -> None:
    """Run to the end in a thread of its own, so that this one can be interrupted while answers are on their way, and
    may have an event loop already.

    Interrupted, nothing more is sent, and what is in flight is awaited for :data:`GRACE` seconds.
    """
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def course() -> None:
        task = asyncio.current_task()
        assert task is not None
        started.append((asyncio.get_running_loop(), task))
        await coroutine()

    def cancel() -> None:
        for loop, task in started:
            with suppress(RuntimeError):  # over
                loop.call_soon_threadsafe(task.cancel)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(copy_context().run, lambda: asyncio.run(course()))
        try:
            running.result()
        except KeyboardInterrupt:
            try:
                stop("Asking was interrupted")
                wait([running], timeout=GRACE)
            finally:
                cancel()
            raise
