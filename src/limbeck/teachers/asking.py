"""Asking a server many questions: concurrently, within limits, each answer kept the moment it arrives."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from limbeck.errors import ConfigError, LimbeckError
from limbeck.signals.answers import Answer, AnswerStore
from limbeck.teachers.limits import Limits, Spent
from limbeck.teachers.questions import (
    REFUSED,
    BadAnswer,
    Question,
    Refused,
    Reply,
    Send,
    Stop,
    Transient,
    WrongAnswer,
    refusal,
)

_READ_AHEAD = 256  # questions looked up in the store at once
_LONGEST_BACKOFF = 60.0  # seconds


@dataclass
class Outcome:
    """What came of asking; the answers themselves are in the store.

    Args:
        answered: questions answered now.    already: questions whose answer was in the store.
        missing: identity to the reason why there will be no answer (refused, nothing usable).
        wrong: identity to what was wrong with its answers, which were not kept.
        unanswered: identity to the failure after which it was set aside; asking again may help.
        stopped: why asking ended before the last question, a sentence without its full stop; "" if it did not.
        error: the error to raise where nothing can be asked at all (wrong key, unknown model).
        spent: requests, tokens, cost, seconds, failures, latencies.    left: what the budget left.
    """

    answered: int = 0
    already: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    error: LimbeckError | None = None
    spent: Spent = field(default_factory=Spent)
    left: dict[str, float] = field(default_factory=dict)


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
) -> Outcome:
    """Ask what the store does not know yet, and keep every answer in it at once.

    Equal questions are asked once. Failed requests are repeated with exponential back-off and jitter, later
    if the server says so (``Retry-After``, which holds for all requests). A server that stays silent, a spent
    budget or a wrong key end the asking; what is in flight then is awaited and kept. Works inside a running
    event loop too (a notebook). Take :func:`asking_lock` around it where two processes may ask the same.

    Args:
        questions: read as they are needed.
        send: sends the questions of one request; runs in an event loop of its own.
        endpoint, model: noted beside each answer, and named in messages.
        per_request: how many questions ``send`` is given at most.
        spent: the run so far, whose budget this asking shares.
        close: awaited at the end, in the same loop (closes a client).
        on_progress: called with the number of questions settled and what was spent.
    """
    asking = _Asking(send, store, limits or Limits(), endpoint, model, spent or Spent(), on_progress)
    _run(lambda: asking.run(questions, per_request, close), asking.stop)
    return asking.outcome


@contextmanager
def asking_lock(store: AnswerStore, name: str) -> Iterator[None]:
    """One process at a time asks the teacher ``name`` for this store; another one waits, and then finds the
    answers there. The lock of a killed process is free at once."""
    from filelock import FileLock, Timeout

    path = store.lock_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger("limbeck").warning("Another process asks %s; waiting for its answers.", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _run(coroutine: Callable[[], Any], stop: Callable[[str], None]) -> None:
    """Run to the end, in a thread where this one has an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(coroutine())
        return
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: asyncio.run(coroutine()))
        try:
            running.result()
        except BaseException:  # an interrupt: the pool waits for what is in flight, and no longer
            stop("Asking was interrupted")
            raise


class _Halted(Exception):
    """Asking has stopped before this request was sent."""


class _Asking:
    """One run of :func:`ask_all`."""

    def __init__(
        self,
        send: Send,
        store: AnswerStore,
        limits: Limits,
        endpoint: str,
        model: str,
        spent: Spent,
        on_progress: Callable[[int, Spent], None] | None,
    ) -> None:
        try:
            import tenacity
            from aiolimiter import AsyncLimiter
        except ImportError:
            raise ConfigError(
                "Asking an API needs tenacity and aiolimiter: pip install 'limbeck[api]'"
            ) from None
        self.send, self.store, self.limits, self.spent = send, store, limits, spent
        self.endpoint, self.model, self.on_progress = endpoint, model, on_progress
        self.outcome = Outcome(spent=spent)
        self.tenacity, self.limiter_type = tenacity, AsyncLimiter
        self.aside: dict[str, Question] = {}
        self.heard = 0  # replies that answered or refused something
        self.given_up = 0  # questions given up since then
        self.not_before = 0.0  # monotonic time until which the server wants to be left alone
        self.stopped = asyncio.Event()

    # ---- the course of asking ------------------------------------------------------------------------------

    async def run(
        self, questions: Iterable[Question], per_request: int, close: Callable[[], Awaitable[Any]] | None
    ) -> None:
        start = time.monotonic()
        self.rates = _rates(self.limits, self.limiter_type)
        if self.spent.stopped:
            self.stop(self.spent.stopped)
        try:
            await self._pass(_batches(self._new(questions), per_request))
            while self.aside and not self.stopped.is_set():  # what failed among answers gets another chance
                again, before = list(self.aside.values()), self.heard
                self.aside.clear()
                await self._pass(_batches(iter(again), per_request))
                if self.heard == before:
                    break
        finally:
            self.spent.seconds += time.monotonic() - start
            self.outcome.left = self.spent.left(self.limits)
            if close is not None:
                await close()

    async def _pass(self, batches: Iterator[list[Question]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(int(self.limits.concurrency)):
                    group.create_task(self._work(batches))
        except* LimbeckError as errors:  # of the store, or of reading the questions
            raise _first(errors) from None

    async def _work(self, batches: Iterator[list[Question]]) -> None:
        while not self.stopped.is_set() and (batch := next(batches, None)) is not None:
            await self._ask(batch)

    def stop(self, why: str, error: LimbeckError | None = None) -> None:
        """Send nothing more; the first reason counts."""
        if not self.stopped.is_set():
            self.outcome.stopped, self.outcome.error = why, error
            self.spent.stopped = why
            self.stopped.set()

    def _new(self, questions: Iterable[Question]) -> Iterator[Question]:
        """Questions that have no answer yet, each once."""
        seen: set[str] = set()
        source = iter(questions)
        while part := list(islice(source, _READ_AHEAD)):
            fresh = {q.identity: q for q in part if q.identity not in seen}
            seen |= fresh.keys()
            known = self.store.get_many(fresh)
            self.outcome.already += len(known)
            for identity, answer in known.items():
                if reason := refusal(answer):
                    self.outcome.missing[identity] = reason
            self._settled(len(known) + len(part) - len(fresh))
            yield from (q for identity, q in fresh.items() if identity not in known)

    def _settled(self, n: int) -> None:
        if self.on_progress is not None and n:
            self.on_progress(n, self.spent)

    # ---- one request ---------------------------------------------------------------------------------------

    async def _ask(self, batch: list[Question]) -> None:
        """Ask until it is answered or given up; what is to blame in a batch is found by halving it."""
        pending, heard = list(batch), self.heard
        retrying = self.tenacity.AsyncRetrying(
            stop=self.tenacity.stop_after_attempt(self.limits.retries + 1),
            wait=self._wait,
            sleep=self._pause,
            retry=self.tenacity.retry_if_exception_type((Transient, BadAnswer)),
            reraise=True,
        )
        try:
            await retrying(self._try, pending)
        except _Halted:
            return
        except Stop as stop:
            self.stop(str(stop).rstrip("."), stop.error)
        except WrongAnswer as wrong:
            self.outcome.wrong |= {q.identity: wrong.reason for q in pending}
            self._settled(len(pending))
        except (Refused, BadAnswer) as failure:
            if len(pending) > 1:
                middle = len(pending) // 2
                await self._ask(pending[:middle])
                await self._ask(pending[middle:])
            elif isinstance(failure, Refused):
                self._refuse(pending[0], failure)
            else:
                self._give_up(pending[0], failure.reason)
        except Transient as failure:
            self._set_aside(pending, failure, heard)

    async def _try(self, pending: list[Question]) -> None:
        """One attempt; leaves in ``pending`` what it did not answer."""
        reply = await self._request(pending)
        answers: dict[str, Answer] = {}
        wrong: dict[str, WrongAnswer] = {}
        refused: list[tuple[Question, Refused]] = []
        for question, answer in zip(pending, reply.answers, strict=True):
            if not isinstance(answer, WrongAnswer):
                self.outcome.unanswered.pop(question.identity, None)
            if isinstance(answer, Answer):
                answers[question.identity] = answer
            elif isinstance(answer, Refused):
                refused.append((question, answer))
            else:
                wrong[question.identity] = answer
        self.store.put_many(answers, self.endpoint, self.model)
        if answers:
            self.heard, self.given_up = self.heard + 1, 0
            self.outcome.answered += len(answers)
            self.spent.answers += len(answers)
            self._settled(len(answers))
        for question, failure in refused:
            self._refuse(question, failure)
        pending[:] = [q for q in pending if q.identity in wrong]
        if pending:
            self.spent.fail("wrong answer")
            raise wrong[pending[0].identity]

    async def _request(self, pending: Sequence[Question]) -> Reply:
        """Send one request within rates, budget and time, and count it."""
        await self._turn(sum(q.tokens for q in pending))
        cost = sum(q.cost for q in pending)
        if why := self.spent.exhausted(self.limits, cost):
            self.stop(why)
        if self.stopped.is_set():
            raise _Halted
        spent, start = self.spent, time.monotonic()
        spent.requests += 1
        spent.reserved += cost
        try:
            async with asyncio.timeout(self.limits.timeout):
                reply = await self.send(pending)
        except TimeoutError:
            spent.fail("time-out")
            raise Transient("time-out") from None
        except (Transient, BadAnswer, Refused) as failure:
            spent.fail(failure.kind if isinstance(failure, Transient) else failure.reason)
            if isinstance(failure, Transient):
                self._leave_alone(failure)
            elif failure.paid is not None:
                self._pay(failure.paid, pending)
            raise
        finally:
            spent.reserved -= cost
        spent.latencies.append(time.monotonic() - start)
        self._pay(reply, pending)
        return reply

    def _pay(self, reply: Reply, pending: Sequence[Question]) -> None:
        """Count tokens and cost, as the server did, else as estimated."""
        self.spent.tokens += reply.tokens if reply.tokens is not None else sum(q.tokens for q in pending)
        self.spent.cost += reply.cost if reply.cost is not None else sum(q.cost for q in pending)

    async def _turn(self, tokens: int) -> None:
        """Wait for the server's pause and for the rates."""
        while (wait := self.not_before - time.monotonic()) > 0 and not self.stopped.is_set():
            await self._pause(wait)
        requests, per_token = self.rates
        if requests is not None:
            await requests.acquire()
        if per_token is not None:
            await per_token.acquire(min(max(tokens, 1), per_token.max_rate))

    # ---- failures ------------------------------------------------------------------------------------------

    def _leave_alone(self, failure: Transient) -> None:
        """A ``Retry-After`` holds for all requests; too long a one ends the asking."""
        wait = failure.retry_after
        if wait is None:
            return
        if wait > self.limits.longest_wait:
            self.stop(f"The server{self._at()} asks to wait {wait:,.0f} seconds ({failure.kind})")
        self.not_before = max(self.not_before, time.monotonic() + wait)

    def _wait(self, state: Any) -> float:
        """Seconds before the next try: exponential with jitter; :meth:`_turn` adds the server's own wish."""
        longest = min(self.limits.backoff * 2.0 ** (state.attempt_number - 1), _LONGEST_BACKOFF)
        return random.uniform(0.5, 1.0) * longest

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless asking stops."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopped.wait()
        except TimeoutError:
            return

    def _refuse(self, question: Question, refused: Refused) -> None:
        self.heard += 1
        if refused.keep:
            kept = Answer({REFUSED: refused.reason})
            self.store.put(question.identity, kept, self.endpoint, self.model)
            self.given_up = 0
        self._leave_out(question, refused.reason, refused.detail, counts=not refused.keep)

    def _give_up(self, question: Question, reason: str) -> None:
        self._leave_out(question, reason, "", counts=True)

    def _leave_out(self, question: Question, reason: str, detail: str, counts: bool) -> None:
        self.outcome.unanswered.pop(question.identity, None)
        self.outcome.missing[question.identity] = reason
        self._settled(1)
        self.given_up += counts
        if self.given_up >= max(8, self.limits.concurrency):
            words = f"{reason}: {detail}" if detail else reason
            self.stop(
                f"The server{self._at()} has answered none of the last {self.given_up} questions ({words})"
            )

    def _set_aside(self, pending: Sequence[Question], failure: Transient, heard: int) -> None:
        """To be asked again later, unless nobody was answered in all this time: then the server is gone."""
        self.aside |= {q.identity: q for q in pending}
        self.outcome.unanswered |= {q.identity: failure.kind for q in pending}
        if self.heard == heard:
            tries = self.limits.retries + 1
            self.stop(f"The server{self._at()} gave no answer in {tries} tries ({failure.kind})")

    def _at(self) -> str:
        return f" {self.endpoint}" if self.endpoint else ""


def _batches(questions: Iterator[Question], n: int) -> Iterator[list[Question]]:
    while batch := list(islice(questions, n)):
        yield batch


def _rates(limits: Limits, limiter: Any) -> tuple[Any, Any]:
    """Limiters of requests and tokens; bursts of a tenth of a second, and of six seconds for tokens."""
    requests = tokens = None
    if limits.requests_per_minute is not None:
        burst = max(1.0, limits.requests_per_minute / 600)
        requests = limiter(burst, 60 * burst / limits.requests_per_minute)
    if limits.tokens_per_minute is not None:
        tokens = limiter(max(1.0, limits.tokens_per_minute / 10), 6.0)
    return requests, tokens


def _first(group: BaseExceptionGroup) -> BaseException:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
