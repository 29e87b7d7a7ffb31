"""The course of asking: which questions are new, who asks them, and what becomes of those without an answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.errors import ConfigError, LimbeckError
from limbeck.teachers.api.limits import Spent
from limbeck.teachers.api.questions import (
    REFUSED,
    BadAnswer,
    Question,
    Refused,
    Stop,
    Transient,
    WrongAnswer,
    refusal,
)
from limbeck.teachers.api.sending import Halted, Sender

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


class Scheduler:
    """One asking from its first question to its last: what is new, who asks it, and what becomes of it."""

    def __init__(
        self,
        sender: Sender,
        store: AnswerStore,
        endpoint: str,
        model: str,
        on_progress: Callable[[int, Spent], None] | None,
    ) -> None:
        try:
            import tenacity
        except ImportError:
            raise ConfigError(
                "Asking an API needs tenacity and aiolimiter: pip install 'limbeck[api]'"
            ) from None
        self.sender, self.store, self.limits, self.spent = sender, store, sender.limits, sender.spent
        self.endpoint, self.model, self.on_progress = endpoint, model, on_progress
        self.outcome = Outcome(spent=sender.spent)
        self.tenacity = tenacity
        self.failure: Exception | None = None  # of the data or of the store
        self.aside: dict[str, Question] = {}
        self.again = False  # what failed among answers is being asked again
        self.heard = 0  # replies that answered or refused something
        self.given_up = 0  # questions given up since then

    async def run(
        self, questions: Iterable[Question], per_request: int, close: Callable[[], Awaitable[Any]] | None
    ) -> None:
        start = time.monotonic()
        self.sender.open()
        try:
            await self._pass(_batches(self._new(questions), per_request))
            while self.aside and not self.sender.stopped.is_set():
                again, self.aside, self.again = list(self.aside.values()), {}, True
                await self._pass(_batches(iter(again), per_request))
        finally:
            self.spent.seconds += time.monotonic() - start
            self.outcome.left = self.spent.left(self.limits)
            self.outcome.stopped, self.outcome.error = self.sender.why, self.sender.error
            if close is not None:
                await close()
        if self.failure is not None:
            raise self.failure

    async def _pass(self, batches: Iterator[list[Question]]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(int(self.limits.concurrency)):
                group.create_task(self._work(batches))

    async def _work(self, batches: Iterator[list[Question]]) -> None:
        try:
            while not self.sender.stopped.is_set() and (batch := next(batches, None)) is not None:
                await self._ask(batch)
        except Exception as error:  # the other workers still keep the answers that are on their way
            self.failure = self.failure or error
            self.sender.stop("Asking failed")

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

    # ---- one request, again and again ----------------------------------------------------------------------

    async def _ask(self, batch: list[Question]) -> None:
        """Ask until it is answered or given up; what is to blame in a batch is found by halving it."""
        pending, heard = list(batch), self.heard
        retrying = self.tenacity.AsyncRetrying(
            stop=self.tenacity.stop_after_attempt(self.limits.retries + 1),
            wait=self._wait,
            sleep=self.sender.pause,
            retry=self.tenacity.retry_if_exception_type((Transient, BadAnswer)),
            reraise=True,
        )
        try:
            await retrying(self._try, pending)
        except Halted:
            return
        except Stop as stop:
            self.sender.stop(str(stop).rstrip("."), stop.error)
        except WrongAnswer as wrong:
            self.outcome.wrong |= {q.identity: wrong.reason for q in pending}
            for question in pending:
                self.outcome.unanswered.pop(question.identity, None)
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
        reply = await self.sender.request(pending)
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

    def _wait(self, state: Any) -> float:
        """Seconds before the next try: exponential with jitter; the sender adds the server's own wish."""
        longest = min(self.limits.backoff * 2.0 ** (state.attempt_number - 1), _LONGEST_BACKOFF)
        return random.uniform(0.5, 1.0) * longest

    # ---- what gets no answer -----------------------------------------------------------------------------

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
            self.sender.stop(
                f"The server{self.sender.where} has answered none of the last {self.given_up} questions ({words})"
            )

    def _set_aside(self, pending: Sequence[Question], failure: Transient, heard: int) -> None:
        """To be asked again later, unless nobody was answered in all this time: then the server is gone, or these
        questions are to blame."""
        self.aside |= {q.identity: q for q in pending}
        self.outcome.unanswered |= {q.identity: failure.kind for q in pending}
        if self.heard > heard:
            return
        if self.again:
            kinds = " and ".join(sorted(set(self.outcome.unanswered.values())))
            why = f"{len(self.outcome.unanswered):,} questions failed in every try ({kinds})"
        else:
            tries = self.limits.retries + 1
            why = f"The server{self.sender.where} gave no answer in {tries} tries ({failure.kind})"
        self.sender.stop(why)


def _batches(questions: Iterator[Question], n: int) -> Iterator[list[Question]]:
    while batch := list(islice(questions, n)):
        yield batch
