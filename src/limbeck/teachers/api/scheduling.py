"""The course of asking: which questions are new, who asks them, and what becomes of those without an answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.teachers.api.limits import Spent
from limbeck.teachers.api.outcome import Outcome
from limbeck.teachers.api.questions import (
    FAILED,
    REFUSED,
    Again,
    BadAnswer,
    Question,
    Refused,
    Reply,
    Stop,
    TooMuch,
    Transient,
    Unread,
    WrongAnswer,
    refusal,
)
from limbeck.teachers.api.sending import Halted, Sender

_READ_AHEAD = 256  # questions looked up in the store at once
_LONGEST_BACKOFF = 60.0  # seconds
_HALF_TRIES = 2  # of the halves of a request that failed in every try
_FEWEST = 8  # questions in a row without an answer, after which the server is to blame and not they
_MOST_REFUSED = 100  # questions, each to blame for itself, before any is answered

Useless = Callable[[Answer], str | None]  # why a kept answer is none, by the reading of today


class Scheduler:
    """One asking from its first question to its last: what is new, who asks it, and what becomes of it.

    Args:
        useless: see :func:`~limbeck.teachers.api.asking.ask_all`, as ``alive`` and ``on_progress``.
    """

    def __init__(
        self,
        sender: Sender,
        store: AnswerStore,
        endpoint: str,
        model: str,
        on_progress: Callable[[int, Spent], None] | None,
        useless: Useless | None = None,
        alive: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.sender, self.store, self.limits, self.spent = sender, store, sender.limits, sender.spent
        self.endpoint, self.model, self.on_progress = endpoint, model, on_progress
        self.outcome = Outcome(spent=sender.spent)
        self.failure: Exception | None = None  # of the data or of the store
        self.aside: dict[str, Question] = {}
        self.again = False  # what failed among answers is being asked again
        self.per_request = 1
        self.heard = 0  # replies that answered or refused something
        self.given_up = 0  # questions given up or set aside since then
        self._useless, self._alive = useless, alive
        self._arrived: dict[str, Answer] = {}  # answers of this turn of the event loop
        self._written = asyncio.Event()  # set when they are kept
        self._failed_at: dict[str, int] = {}  # question to how much had been heard when it first failed
        self._last = Transient("no answer")

    async def run(
        self, questions: Iterable[Question], per_request: int, close: Callable[[], Awaitable[Any]] | None
    ) -> None:
        start = time.monotonic()
        self.per_request = per_request
        self.sender.open()
        try:
            await self._pass(self._new(questions))
            if self.aside and not self.heard and not self.outcome.already:
                self._stop_silent()
            while self.aside and not self.sender.stopped.is_set():
                again, self.aside, self.again = list(self.aside.values()), {}, True
                await self._pass(iter(again))
        finally:
            self._write()
            self.spent.seconds += time.monotonic() - start
            self.outcome.left = self.spent.left(self.limits)
            self.outcome.stopped, self.outcome.error = self.sender.why, self.sender.error
            if close is not None:
                await close()
        if self.failure is not None:
            raise self.failure

    async def _pass(self, questions: Iterator[Question]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(int(self.limits.concurrency)):
                group.create_task(self._work(questions))

    async def _work(self, questions: Iterator[Question]) -> None:
        try:
            while not self.sender.stopped.is_set() and (batch := list(islice(questions, self.per_request))):
                await self._ask(batch)
        except Exception as error:
            self._fail(error)

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
                if reason := refusal(answer) or (self._useless and self._useless(answer)):
                    self.outcome.missing[identity] = reason
            self._settled(len(known) + len(part) - len(fresh))
            yield from (q for identity, q in fresh.items() if identity not in known)

    def _settled(self, n: int) -> None:
        if self.on_progress is not None and n:
            self.on_progress(n, self.spent)

    # ---- one request, again and again ----------------------------------------------------------------------

    async def _ask(self, batch: list[Question], tries: int | None = None) -> None:
        """Ask until it is answered or given up; what is to blame in a batch is found by halving it."""
        pending, heard = list(batch), self.heard
        try:
            await self._try_often(pending, tries or self.limits.retries + 1)
        except Halted:
            return
        except Stop as stop:
            self.sender.stop(str(stop).rstrip("."), stop.error)
        except TooMuch as failure:
            await self._ask_less(pending, failure)
        except Unread as failure:
            await self._give_up(pending, failure.of, was_batch=len(batch) > 1)
        except Refused as failure:
            if len(pending) > 1:
                await self._halve(pending)
            else:
                self._refuse(pending[0], failure)
        except BadAnswer as failure:
            await self._give_up(
                pending, dict.fromkeys((q.identity for q in pending), failure), was_batch=False
            )
        except Transient as failure:
            await self._failed(pending, failure, heard)

    async def _halve(self, pending: list[Question], tries: int | None = None) -> None:
        middle = len(pending) // 2
        await self._ask(pending[:middle], tries)
        await self._ask(pending[middle:], tries)

    async def _ask_less(self, pending: list[Question], failure: TooMuch) -> None:
        """In smaller requests; where the server says how many questions it takes, from now on."""
        if len(pending) == 1:
            self._refuse(pending[0], failure)
            return
        if failure.at_once is not None:
            self.per_request = max(1, min(self.per_request, failure.at_once))
        size = max(1, min(failure.at_once or len(pending), -(-len(pending) // 2)))
        for start in range(0, len(pending), size):
            await self._ask(pending[start : start + size])

    async def _try_often(self, pending: list[Question], most: int) -> None:
        """At most so many attempts, with pauses between them; raises what the last one did."""
        for attempt in range(1, most):
            try:
                await self._try(pending)
            except (Transient, BadAnswer):
                await self.sender.pause(self._wait(attempt))
            else:
                return
        await self._try(pending)

    async def _try(self, pending: list[Question]) -> None:
        """One attempt, which is changed for as long as the server refuses its parameters; leaves in ``pending`` what it
        did not answer."""
        reply: Reply | None = None
        while reply is None:
            with suppress(Again):
                reply = await self.sender.request(pending)
        useless = self._keep(pending, reply)
        if self._arrived:
            # before the next question is sent, so that a kill loses no more than is in flight
            await self._written.wait()
        pending[:] = [q for q in pending if q.identity in useless]
        if pending:
            first = useless[pending[0].identity]
            self.spent.fail("wrong answer" if isinstance(first, WrongAnswer) else first.reason)
            raise Unread(useless)

    def _keep(self, pending: Sequence[Question], reply: Reply) -> dict[str, BadAnswer]:
        """Keep the answers and refusals of a reply; returns what is no use."""
        answers: dict[str, Answer] = {}
        useless: dict[str, BadAnswer] = {}
        refused: list[tuple[Question, Refused]] = []
        for question, answer in zip(pending, reply.answers, strict=True):
            if isinstance(answer, BadAnswer):
                useless[question.identity] = answer
                continue
            self.outcome.unanswered.pop(question.identity, None)
            if isinstance(answer, Answer):
                answers[question.identity] = answer
            else:
                refused.append((question, answer))
        if answers:
            self.heard, self.given_up = self.heard + 1, 0
            if not self._arrived:
                asyncio.get_running_loop().call_soon(self._write)
                self._written = asyncio.Event()
            self._arrived |= answers
        for question, failure in refused:
            self._refuse(question, failure)
        return useless

    def _write(self) -> None:
        """Keep what arrived in this turn of the event loop, in one transaction."""
        arrived, self._arrived = self._arrived, {}
        if not arrived:
            return
        try:
            self.store.put_many(arrived, self.endpoint, self.model)
            self.outcome.answered += len(arrived)
            self.spent.answers += len(arrived)
            self._settled(len(arrived))
        except Exception as error:
            self._fail(error)
        finally:
            self._written.set()

    def _fail(self, error: Exception) -> None:
        """The other workers still keep the answers that are on their way."""
        self.failure = self.failure or error
        self.sender.stop("Asking failed")

    def _wait(self, attempt: int) -> float:
        """Seconds after so many attempts: exponential with jitter; the sender adds the server's own wish."""
        longest = min(self.limits.backoff * 2.0 ** (attempt - 1), _LONGEST_BACKOFF)
        return random.uniform(0.5, 1.0) * longest

    # ---- what gets no answer -----------------------------------------------------------------------------

    def _refuse(self, question: Question, refused: Refused) -> None:
        self.heard += 1
        if refused.keep:
            kept = Answer({REFUSED: refused.reason})
            self.store.put(question.identity, kept, self.endpoint, self.model)
            self.given_up = 0
        self._leave_out(question, refused.reason, refused.detail, counts=not refused.of_row)

    async def _give_up(self, pending: list[Question], of: dict[str, BadAnswer], was_batch: bool) -> None:
        """Questions whose answers are no use in every try: alone once more, then left out, or named as wrong."""
        wrong = {
            q.identity: of[q.identity].reason for q in pending if isinstance(of[q.identity], WrongAnswer)
        }
        self.outcome.wrong |= wrong
        for identity in wrong:
            self.outcome.unanswered.pop(identity, None)
        self._settled(len(wrong))
        useless = [q for q in pending if q.identity not in wrong]
        if len(useless) > 1:
            await self._halve(useless, _HALF_TRIES)
        elif useless and was_batch and not self.sender.stopped.is_set():
            await self._ask(useless, _HALF_TRIES)
        elif useless:
            self._leave_out(useless[0], of[useless[0].identity].reason, "", counts=True)

    def _leave_out(self, question: Question, reason: str, detail: str, counts: bool) -> None:
        self.outcome.unanswered.pop(question.identity, None)
        self.outcome.missing[question.identity] = reason
        self._settled(1)
        if detail:
            self.outcome.words.setdefault(reason, detail)
        self.given_up += counts
        heard_nothing = not (self.outcome.answered or self._arrived or self.outcome.already)
        refused = len(self.outcome.missing) if heard_nothing else 0
        if self.given_up >= max(_FEWEST, self.limits.concurrency) or refused >= _MOST_REFUSED:
            words = f"{reason}: {detail}" if detail and detail not in reason else reason
            n, where = max(refused, self.given_up), self.sender.where
            self.sender.stop(f"The server{where} has answered none of the last {n} questions ({words})")

    async def _failed(self, pending: list[Question], failure: Transient, heard: int) -> None:
        """What failed in every try: the server is gone, or busy, or these questions are to blame."""
        among = self.heard > heard
        self._last = failure
        for question in pending:
            self._failed_at.setdefault(question.identity, heard)
        if failure.cause == "silent" and not among and not (self._alive and await self._alive()):
            self._set_aside(pending, failure)
            self._stop_silent()
        elif failure.cause == "busy":
            self._set_aside(pending, failure)
            if not among:
                self._stop_silent()
        elif len(pending) > 1:
            await self._halve(pending, _HALF_TRIES)
        elif self.again:
            others_fared_better = self.heard > self._failed_at[pending[0].identity]
            self._leave_out(pending[0], f"{FAILED} ({failure.short})", "", counts=not others_fared_better)
        else:
            self._set_aside(pending, failure)
            self.given_up += not among
            if self.given_up >= max(_FEWEST, self.limits.concurrency):
                self._stop_silent()

    def _set_aside(self, pending: Sequence[Question], failure: Transient) -> None:
        """To be asked again later."""
        self.aside |= {q.identity: q for q in pending}
        self.outcome.unanswered |= {q.identity: failure.short for q in pending}

    def _stop_silent(self) -> None:
        self.outcome.spoke = self._last.cause == "spoken"
        if self.again:
            kinds = " and ".join(sorted(set(self.outcome.unanswered.values())))
            why = f"{len(self.outcome.unanswered):,} questions failed in every try ({kinds})"
        else:
            tries = self.limits.retries + 1
            why = f"The server{self.sender.where} gave no answer in {tries} tries ({self._last.short})"
        self.sender.stop(why)
