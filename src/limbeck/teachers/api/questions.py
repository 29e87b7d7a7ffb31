"""What passes between the asking engine and whoever sends its questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.banks.answers import Answer
from limbeck.errors import LimbeckError

REFUSED = "refused"  # the entry of a kept refusal, with its reason


@dataclass(frozen=True)
class Question:
    """One thing to ask.

    Args:
        identity: of :func:`limbeck.banks.answers.identity_of`; questions with one identity are asked once.
        payload: what ``send`` needs to ask it.
        tokens: estimated, of question and answer.    cost: estimated.
    """

    identity: str
    payload: Any
    tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class Reply:
    """The answers to the questions of one request, in their order; a refused one is a :class:`Refused`.

    ``tokens`` and ``cost`` are what the server counted, ``None`` = unknown (then the estimates are used).
    """

    answers: Sequence[Answer | Refused | WrongAnswer]
    tokens: int | None = None
    cost: float | None = None


class Refused(Exception):
    """The server will never answer this question (content policy, too long).

    Args:
        reason: short and the same for all questions of a kind; it becomes a name in ``bank.json``.
        keep: keep the refusal as an answer, so that it is not asked (and paid) again.
        detail: the server's words, for messages.

    ``paid`` is what the request cost nevertheless.
    """

    paid: Reply | None = None

    def __init__(self, reason: str, keep: bool = True, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.keep, self.detail = reason, keep, detail


class Transient(Exception):
    """The request failed (429, 5xx, time-out, reset, no JSON) and may be repeated.

    Args:
        kind: name for the failure counts.    retry_after: seconds that the server asks to wait.
    """

    def __init__(self, kind: str, retry_after: float | None = None) -> None:
        super().__init__(kind)
        self.kind, self.retry_after = kind, retry_after


class BadAnswer(Exception):
    """The server answered, but not the question (empty choices, no number); asked again, then given up: the
    row is left out of the bank under ``reason``. ``paid`` is what the request cost nevertheless."""

    paid: Reply | None = None

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WrongAnswer(BadAnswer):
    """An answer that shows another teacher (an embedding of another width); asked again, then an error that
    names the rows."""


class Stop(Exception):
    """Nothing more can be asked (wrong key, unknown model): stop at once and raise ``error``."""

    def __init__(self, error: LimbeckError) -> None:
        super().__init__(str(error))
        self.error = error


# Sends the questions of one request. Raises Refused, Transient, BadAnswer, WrongAnswer or Stop.
Send = Callable[[Sequence[Question]], Awaitable[Reply]]


def refusal(answer: Answer) -> str | None:
    """The reason, where a kept answer is a refusal."""
    reason = answer.data.get(REFUSED)
    return None if reason is None else str(reason)
