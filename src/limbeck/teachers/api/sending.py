"""Sending one request: when it is its turn, while the budget lasts, for as long as it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from limbeck.errors import ConfigError, LimbeckError
from limbeck.teachers.api.limits import Limits, Spent
from limbeck.teachers.api.questions import Again, BadAnswer, Question, Refused, Reply, Send, Transient


class Halted(Exception):
    """Asking has stopped before this request was sent."""


class Sender:
    """Sends requests within rates, budget and time, and counts them; all workers of one asking share it.

    Attributes:
        stopped: set when nothing more is to be sent.
        why: the reason, a sentence without its full stop.    error: what to raise where nothing can be asked at all.
    """

    def __init__(self, send: Send, limits: Limits, spent: Spent, endpoint: str) -> None:
        try:
            from aiolimiter import AsyncLimiter
        except ImportError:
            raise ConfigError("Asking an API needs aiolimiter: pip install 'limbeck[api]'") from None
        self.limits, self.spent = limits, spent
        self.where = f" {endpoint}" if endpoint else ""
        self.stopped = asyncio.Event()
        self.why, self.error = "", None  # type: tuple[str, LimbeckError | None]
        self._send, self._limiter = send, AsyncLimiter
        self._loop: asyncio.AbstractEventLoop | None = None
        self._not_before = 0.0  # monotonic time until which the server wants to be left alone

    def open(self) -> None:
        """To be called in the event loop in which requests will be sent."""
        self._loop = asyncio.get_running_loop()
        self._requests, self._tokens = _rates(self.limits, self._limiter)
        self._token_turn = asyncio.Lock()
        if self.spent.stopped:
            self.stop(self.spent.stopped)

    def stop(self, why: str, error: LimbeckError | None = None) -> None:
        """Send nothing more; the first reason counts."""
        if not self.stopped.is_set():
            self.why, self.error, self.spent.stopped = why, error, why
            self.stopped.set()

    def stop_from_outside(self, why: str) -> None:
        """As :meth:`stop`, from another thread than that of the event loop, which it wakes."""
        if self._loop is None:  # not begun
            self.stop(why)
        else:
            with suppress(RuntimeError):  # over
                self._loop.call_soon_threadsafe(self.stop, why)

    async def request(self, pending: Sequence[Question]) -> Reply:
        """Send one request within rates, budget and time, and count it.

        Raises: Halted where asking has stopped, and what ``send`` raises; Transient too where time ran out.
        """
        await self._turn(sum(q.tokens for q in pending))
        cost = sum(q.cost for q in pending)
        if why := self.spent.exhausted(self.limits, cost):
            self.stop(why)
        if self.stopped.is_set():
            raise Halted
        spent, start = self.spent, time.monotonic()
        spent.requests += 1
        spent.reserved += cost
        try:
            async with asyncio.timeout(self.limits.timeout):
                reply = await self._send(pending)
        except TimeoutError:
            spent.fail("time-out")
            raise Transient("time-out") from None
        except Again as again:
            spent.fail(again.kind)
            raise
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

    async def pause(self, seconds: float) -> None:
        """Sleep, unless asking stops."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopped.wait()
        except TimeoutError:
            return

    def _pay(self, reply: Reply, pending: Sequence[Question]) -> None:
        """Count tokens and cost, as the server did, else as estimated."""
        self.spent.tokens += reply.tokens if reply.tokens is not None else sum(q.tokens for q in pending)
        self.spent.cost += reply.cost if reply.cost is not None else sum(q.cost for q in pending)

    # ---- whose turn it is ----------------------------------------------------------------------------------

    async def _turn(self, tokens: int) -> None:
        """Wait for the server's pause and for the rates; no longer than until asking stops."""
        await self._leave_in_peace()
        if self._requests is not None:
            await self._unless_stopped(self._requests.acquire())
        if self._tokens is not None:
            await self._unless_stopped(self._acquire_tokens(max(tokens, 1)))
        await self._leave_in_peace()  # the server may have asked for it while the rates let nobody pass

    async def _leave_in_peace(self) -> None:
        while (wait := self._not_before - time.monotonic()) > 0 and not self.stopped.is_set():
            await self.pause(wait)

    async def _acquire_tokens(self, tokens: int) -> None:
        """One request after the other, in parts where it has more tokens than may come at once."""
        async with self._token_turn:
            while tokens > 0:
                part = min(tokens, self._tokens.max_rate)
                await self._tokens.acquire(part)
                tokens -= part

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for one thing, unless asking stops first."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self.stopped.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _leave_alone(self, failure: Transient) -> None:
        """A ``Retry-After`` holds for all requests; too long a one ends the asking."""
        wait = failure.retry_after
        if wait is None:
            return
        if wait > self.limits.longest_wait:
            self.stop(f"The server{self.where} asks to wait {wait:,.0f} seconds ({failure.short})")
        self._not_before = max(self._not_before, time.monotonic() + wait)


def _rates(limits: Limits, limiter: Any) -> tuple[Any, Any]:
    """Limiters of requests and tokens; bursts of a tenth of a second, and of six seconds for tokens."""
    requests = tokens = None
    if limits.requests_per_minute is not None:
        burst = max(1.0, limits.requests_per_minute / 600)
        requests = limiter(burst, 60 * burst / limits.requests_per_minute)
    if limits.tokens_per_minute is not None:
        burst = max(1.0, limits.tokens_per_minute / 10)
        tokens = limiter(burst, 60 * burst / limits.tokens_per_minute)
    return requests, tokens
