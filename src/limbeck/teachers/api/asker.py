"""Asking a few questions and waiting for their answers, from the store where they are there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.errors import InconsistentOutputError, UnansweredError
from limbeck.teachers.api.asking import ask_all
from limbeck.teachers.api.exchange import Exchange
from limbeck.teachers.api.limits import Limits, Spent
from limbeck.teachers.api.outcome import Outcome
from limbeck.teachers.api.questions import FAILED, REFUSED, Question, Refused, refusal

# Parameters that only say how an answer is sent: of those nobody need be warned.
_ONLY_FORM = ("encoding_format", "response_format")


class NotAsked(Exception):
    """The store does not know what a choice depends on."""


class Asker:
    """Asks through one exchange, keeping what comes in one store."""

    def __init__(self, exchange: Exchange, store: AnswerStore, limits: Limits) -> None:
        self.exchange, self.store, self.limits = exchange, store, limits
        self._told: set[str] = set()

    def settings(self) -> dict[str, Any]:
        """Arguments of :func:`~limbeck.teachers.api.asking.ask_all` that are the same for all asking."""
        server, kind = self.exchange.server, self.exchange.kind
        server.load()
        return {
            "endpoint": server.endpoint,
            "model": server.model,
            "per_request": kind.inputs_per_request,
            "close": server.close,
            "useless": kind.fault,
            "alive": server.alive,
        }

    def asked(
        self,
        questions: Sequence[Question],
        spent: Spent,
        failed: list[str] | None = None,
        one_by_one: bool = False,
    ) -> dict[str, Answer | Refused]:
        """Answers and refusals by identity, from the store or asked now.

        Args:
            failed: takes why a question failed in every try though the server speaks, which then is a refusal;
                without it, it is an error.

        Raises: UnansweredError.
        """
        identities = {question.identity for question in questions}
        found = self.store.get_many(identities)
        missing: dict[str, str] = {}
        if len(found) < len(identities):
            asking = self.settings() | ({"per_request": 1} if one_by_one else {})
            outcome = ask_all(questions, self.exchange.send, self.store, self.limits, spent=spent, **asking)
            self.tell_changes()
            if outcome.error is not None:
                raise outcome.error
            if outcome.wrong:
                wrong = next(iter(outcome.wrong.values()))
                raise InconsistentOutputError(f"{self.exchange.server.model} gave {wrong}.")
            found, missing = self.store.get_many(identities), outcome.missing
            if lacking := identities - found.keys() - missing.keys():
                missing = missing | _unanswered(outcome, lacking, spent, failed)
        answers: dict[str, Answer | Refused] = {i: Refused(reason) for i, reason in missing.items()}
        for identity, answer in found.items():
            reason = self._reason_against(answer)
            answers[identity] = answer if reason is None else Refused(reason)
        return answers

    def asked_payloads(
        self, payloads: Sequence[Any], spent: Spent, failed: list[str]
    ) -> list[Answer | Refused]:
        """Asked now; a refusal is kept too, so that a choice is the same in the next run, server or not."""
        questions = list(self.exchange.numbered(payloads))
        answers = self.asked(questions, spent, failed)
        found = [answers[question.identity] for question in questions]
        server = self.exchange.server
        for question, answer in zip(questions, found):
            if isinstance(answer, Refused) and answer.reason.startswith("refused"):
                self.store.put(
                    question.identity, Answer({REFUSED: answer.reason}), server.endpoint, server.model
                )
        return found

    def kept(self, payloads: Sequence[Any]) -> list[Answer | Refused]:
        """As :meth:`asked_payloads`, from the store alone. Raises: NotAsked."""
        found = [self.store.get(question.identity) for question in self.exchange.numbered(payloads)]
        answers = [answer for answer in found if answer is not None]
        if len(answers) < len(found):
            raise NotAsked
        return [a if (r := self._reason_against(a)) is None else Refused(r) for a in answers]

    def tell_changes(self) -> None:
        """Warn once of every parameter that the server would not take, unless it only says how an answer is sent."""
        server = self.exchange.server
        for step in server.terms.steps:
            of_another = step.name == "top_logprobs" and not step.how  # goes with logprobs
            if step.name in self._told or step.name in _ONLY_FORM or step.how == "rename" or of_another:
                continue
            self._told.add(step.name)
            value = "" if step.how == "fold" else f"={step.value!r}"
            warnings.warn(
                f"The server {server.endpoint} does not take {step.name}{value} from {server.model} "
                f"({server.terms.said[step.name]}); it is {step.words} in this run.",
                stacklevel=5,
            )

    def _reason_against(self, answer: Answer) -> str | None:
        """Why a kept answer is none: it is a refusal, or says nothing by today's reading."""
        return refusal(answer) or self.exchange.kind.fault(answer)


def _unanswered(
    outcome: Outcome, lacking: set[str], spent: Spent, failed: list[str] | None
) -> dict[str, str]:
    """Reasons for questions without an answer; see :meth:`Asker.asked`."""
    why = outcome.stopped or next(iter(outcome.unanswered.values()), "no answer")
    if failed is None or not outcome.spoke:
        raise UnansweredError(f"{why}: {len(lacking)} questions have no answer; run the same again to go on.")
    failed += [why] * len(lacking)
    spent.stopped = ""
    return {i: f"{FAILED} ({outcome.unanswered.get(i, 'no answer')})" for i in lacking}
