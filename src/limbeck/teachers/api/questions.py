"""What passes between the asking engine and whoever sends its questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limbeck.banks.answers import Answer
from limbeck.errors import LimbeckError

REFUSED = "refused"  # the entry of a kept refusal, with its reason
FAILED = "failed in every try"  # the beginning of the reason of a question that the server cannot answer


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
    """The answers to the questions of one request, in their order; a refused one is a :class:`Refused`, one that is
    no use a :class:`BadAnswer`.

    ``tokens`` and ``cost`` are what the server counted, ``None`` = unknown (then the estimates are used).
    """

    answers: Sequence[Answer | Refused | BadAnswer]
    tokens: int | None = None
    cost: float | None = None


class Refused(Exception):
    """The server will never answer this question (content policy, too long).

    Args:
        reason: short and the same for all questions of a kind; it becomes a name in ``bank.json``.
        keep: keep the refusal as an answer, so that it is not asked (and paid) again.
        detail: the server's words, for messages.
        of_row: the question itself is to blame, so that others may fare better; default ``keep``.

    ``paid`` is what the request cost nevertheless.
    """

    paid: Reply | None = None

    def __init__(self, reason: str, keep: bool = True, detail: str = "", of_row: bool | None = None) -> None:
        super().__init__(reason)
        self.reason, self.keep, self.detail = reason, keep, detail
        self.of_row = keep if of_row is None else of_row


class TooMuch(Refused):
    """The request was too large; smaller ones may be answered.

    ``at_once`` questions may be asked in one request, if the server says how many: then in all that follow.
    """

    def __init__(self, reason: str, detail: str = "", at_once: int | None = None) -> None:
        super().__init__(reason, keep=False, detail=detail, of_row=True)
        self.at_once = at_once


class Transient(Exception):
    """The request failed (429, 5xx, time-out, reset, no JSON) and may be repeated.

    Args:
        kind: name for the failure counts.    retry_after: seconds that the server asks to wait.
        detail: the server's words, for messages.
        cause: ``spoken``: the server answered, and the question may be to blame (500); ``silent``: it did not answer
            (time-out, reset); ``busy``: it is, whatever it is asked (429).
    """

    def __init__(
        self,
        kind: str,
        retry_after: float | None = None,
        detail: str = "",
        cause: Literal["spoken", "silent", "busy"] | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind, self.retry_after, self.detail = kind, retry_after, detail
        silent = kind in ("connection lost", "time-out")
        self.cause = cause or ("silent" if silent else "busy" if kind == "429" else "spoken")

    @property
    def short(self) -> str:
        return f"{self.kind}: {self.detail.rstrip('.')}" if self.detail else self.kind


class Again(Exception):
    """The server refused a parameter of the request, without which it is asked again at once; ``kind`` counts it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


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


class Unread(BadAnswer):
    """A reply that left questions unanswered; ``of``: identity to what was wrong."""

    def __init__(self, of: dict[str, BadAnswer]) -> None:
        super().__init__(next(iter(of.values())).reason)
        self.of = of


class Stop(Exception):
    """Nothing more can be asked (wrong key, unknown model): stop at once and raise ``error``."""

    def __init__(self, error: LimbeckError) -> None:
        super().__init__(str(error))
        self.error = error


# Sends the questions of one request. Raises Refused, TooMuch, Transient, Again, BadAnswer, WrongAnswer or Stop.
Send = Callable[[Sequence[Question]], Awaitable[Reply]]


def refusal(answer: Answer) -> str | None:
    """The reason, where a kept answer is a refusal."""
    reason = answer.data.get(REFUSED)
    return None if reason is None else str(reason)
