"""From inputs to the questions of a kind, and from these to one request and its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck.banks.answers import Answer, identity_of
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.teachers.api.endpoint_kind import Kind
from limbeck.teachers.api.limits import Prices
from limbeck.teachers.api.questions import BadAnswer, Question, Refused, Reply
from limbeck.teachers.api.server import Server

CHANGED = "changed"  # the entry of an answer with the parameters that its request could not have as they were
# What a server counts of its answer, in a chat and of a picture.
_SAID = ("completion_tokens", "output_tokens")


class Exchange:
    """One kind of question, put to one model of one server.

    Args:
        kind_name, kind: what is asked.    prices: for what it costs; ``None`` = nobody knows.
    """

    def __init__(self, kind_name: str, kind: Kind, server: Server, prices: Prices | None) -> None:
        self.kind_name, self.kind, self.server, self.prices = kind_name, kind, server, prices

    # ---- questions -----------------------------------------------------------------------------------------

    def questions(self, inputs: Mapping[str, Any]) -> list[list[Question]]:
        """Those of each row."""
        return [list(self.numbered(payloads)) for payloads in self.kind.payloads(inputs)]

    def numbered(self, payloads: Sequence[Any]) -> Iterator[Question]:
        """Equal payloads of a row are samples of one question: the n-th has the sample number n."""
        if len(payloads) == 1:
            yield self.question(payloads[0], 0)
            return
        counts: dict[str, int] = {}
        for payload in payloads:
            digest = settings_fingerprint(payload)
            yield self.question(payload, counts.setdefault(digest, 0))
            counts[digest] += 1

    def question(self, payload: Any, sample: int | str) -> Question:
        kind = self.kind
        identity = identity_of(
            self.server.endpoint, self.server.model, self.kind_name, kind.parameters(), payload, sample
        )
        asked, said = kind.tokens(payload)
        cost = 0.0 if self.prices is None else self.prices.cost(asked, said, 1 / kind.inputs_per_request)
        return Question(identity, payload, asked + said, cost)

    # ---- a request -----------------------------------------------------------------------------------------

    async def send(self, questions: Sequence[Question]) -> Reply:
        """One request. Raises: what :meth:`Server.post` raises; BadAnswer where the reply answers none of them."""
        payloads = [question.payload for question in questions]
        body = {"model": self.server.model, **self.kind.body(payloads)}
        reply = await self.server.post(self.kind.path, body, len(questions), questions[0].identity)
        tokens, cost = self._paid(reply.get("usage"))
        if changes := self.server.terms.changes:
            self.kind.changed(changes)
        try:
            answers = await self._read(reply, payloads)
        except (BadAnswer, Refused) as failure:  # useless, and paid
            failure.paid = Reply([], tokens=tokens, cost=cost)
            raise
        if changes:
            answers = [
                replace(a, data={**a.data, CHANGED: changes}) if isinstance(a, Answer) else a for a in answers
            ]
        return Reply(answers, tokens=tokens, cost=cost)

    async def _read(
        self, reply: dict[str, Any], payloads: Sequence[Any]
    ) -> list[Answer | Refused | BadAnswer]:
        try:
            if self.kind.takes_time:
                return await asyncio.to_thread(self.kind.read, reply, payloads)
            return self.kind.read(reply, payloads)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
            raise BadAnswer("an answer that cannot be read") from None  # a number where a list should be, ...

    def _paid(self, usage: Any) -> tuple[int | None, float | None]:
        """Tokens and cost as the server counts them; ``None`` where it does not."""
        if not isinstance(usage, Mapping):
            return None, None
        asked, said = _counted(usage, "prompt_tokens", "input_tokens"), _counted(usage, *_SAID)
        tokens = _counted(usage, "total_tokens") or asked + said or None
        cost = self.prices.cost(asked, said) if asked + said and self.prices is not None else None
        return tokens, cost


def _counted(usage: Mapping[str, Any], *names: str) -> int:
    """The first of these counts that a server gives; 0 where it gives none that a number can hold."""
    found = (usage.get(name) for name in names)
    return next((int(n) for n in found if isinstance(n, (int, float)) and 0 < n < 1e15), 0)
