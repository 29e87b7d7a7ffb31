"""A teacher behind an OpenAI-compatible server: asked once, its answers kept."""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.banks.answers import Answer, AnswerStore, identity_of
from limbeck.banks.rows import RowBatch
from limbeck.errors import ConfigError, InconsistentOutputError, UnansweredError, UnknownNameError, nearest
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.key import Key
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.asking import ask_all, asking_lock
from limbeck.teachers.api.collecting import collect_rows, named_questions
from limbeck.teachers.api.endpoint_kind import Kind
from limbeck.teachers.api.limits import Limits, Prices, Spent
from limbeck.teachers.api.questions import REFUSED, BadAnswer, Question, Refused, Reply, WrongAnswer, refusal
from limbeck.teachers.api.server import Server

# Module and class of each kind; loaded when it is asked for.
KINDS = {
    "embeddings": "limbeck.teachers.api.embeddings:Embeddings",
    "chat": "limbeck.teachers.api.chat:ChatKind",
    "text": "limbeck.teachers.api.text:TextKind",
    "images": "limbeck.teachers.api.images:ImagesKind",
}
_SAID = (
    "completion_tokens",
    "output_tokens",
)  # what a server counts of its answer, in a chat and of a picture


@dataclass(frozen=True)
class Plan:
    """What asking would take, for ``--dry-run``.

    Args:
        questions: different ones.    already: of them, those whose answer is in the store.
        requests: that remain.    tokens: estimated.    cost: estimated; ``None`` without prices.
    """

    questions: int
    already: int
    requests: int
    tokens: int
    cost: float | None


class APITeacher:
    """Asks an OpenAI-compatible server. Every answer is kept in an answer store the moment it arrives, so
    that nothing is asked twice, by any run.

    A bank that is built from it is asked for first, many requests at a time, and compiled afterwards. Called
    by itself it asks what the store lacks; all such calls together have one budget.

    Args:
        model: the server's name of the model.
        kind: ``embeddings``, ``chat``, ``text`` or ``images``.
        base_url: of the server; ``None`` = OpenAI's. Credentials in it are used and never shown.
        api_key_env: the environment variable that holds the key; servers of your own may need none.
        licence: what the provider's terms say about training on its outputs; ``"unknown"`` is an answer.
        limits: rates, retries, budget.
        store: the answer store or its path; default the one in the cache folder.
        prices: what the provider takes, for ``max_cost`` and the cost that is shown.
        probe: how often one item is asked before all the others are; a warning if the answers differ much.
        options: of the kind (``dimensions``, ``inputs_per_request``; see its class).

    Raises: ConfigError: no licence, a value out of range.    UnknownNameError: no such kind.
    """

    head: tuple[Tensor, Tensor | None] | None = None

    def __init__(
        self,
        model: str,
        *,
        kind: str = "embeddings",
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        licence: str = "",
        limits: Limits | None = None,
        store: AnswerStore | str | Path | None = None,
        prices: Prices | None = None,
        probe: int = 3,
        **options: Any,
    ) -> None:
        if not licence.strip():
            raise ConfigError(
                f"State with licence= what the terms of {model!r} say about training on its outputs (a sentence "
                'or a link; licence="unknown" if you do not know): it is kept with the bank.'
            )
        if kind not in KINDS:
            raise UnknownNameError(f"There is no kind {kind!r}; {nearest(kind, KINDS)}")
        if probe < 0:
            raise ConfigError(f"probe must be at least 0; it is {probe}.")
        self.model, self.kind_name, self.licence, self.probe = model, kind, licence.strip(), probe
        self.limits, self.prices = limits or Limits(), prices
        if self.limits.max_cost is not None and prices is None:
            raise ConfigError("max_cost needs prices=, or nobody knows what a request costs.")
        self.kind: Kind = _make(kind, options)
        self.server = Server(model, base_url, api_key_env)
        self.store = store if isinstance(store, AnswerStore) else AnswerStore(store)
        self._is_chosen = False
        self._spent = Spent()  # by calls of the teacher itself, which share one budget

    def __repr__(self) -> str:
        return f"APITeacher({self.model!r}, kind={self.kind_name!r}, endpoint={self.server.endpoint!r})"

    # ---- what a bank asks of a teacher ---------------------------------------------------------------------

    @property
    def access(self) -> AccessLevel:
        return self.kind.access

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self.kind.class_names

    @property
    def notes(self) -> dict[str, Any]:
        """What the bank says of how its answers came about."""
        return {"model": self.model, "kind": self.kind_name, **self.kind.notes}

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``endpoint``, ``model``, ``kind`` and ``parameters``."""
        return {
            "endpoint": self.server.endpoint,
            "model": self.model,
            "kind": self.kind_name,
            "parameters": settings_fingerprint(self.kind.settings()),
        }

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """The answers for ``m`` inputs, from the store; what it lacks is asked now.

        Raises: UnansweredError where there is no answer.
        """
        return self.kind.output(self.answers(inputs))

    def answers(self, inputs: Mapping[str, Any]) -> list[list[Answer]]:
        """The answers themselves, for each of ``m`` inputs those to its questions; as :meth:`__call__`."""
        self._spent.stopped = ""  # a server that was silent may be there again; a spent budget stops anew
        self._choose(inputs, self._spent)
        questions = self._questions(inputs)
        answers = self._asked(list(chain.from_iterable(questions)), self._spent)
        rows: list[list[Answer]] = []
        for number, asked in enumerate(questions):
            found = [answers[question.identity] for question in asked]
            for answer in found:
                if isinstance(answer, Refused):
                    raise UnansweredError(
                        f"{self.model} gave no answer to row {number} of this batch ({answer.reason}); leave the row "
                        "out, or build a bank, which leaves it out and says so."
                    )
            rows.append([answer for answer in found if isinstance(answer, Answer)])
        return rows

    def collect(self, rows: Iterable[RowBatch], log: Callable[..., None]) -> dict[Key, str]:
        """Ask about all rows; returns the keys without an answer for good, and why.

        Raises: see :func:`~limbeck.teachers.api.collecting.collect_rows`.
        """
        spent = Spent()
        with asking_lock(self.store, f"{self.model} at {self.server.endpoint}"):
            with suppress(UnansweredError):  # a spent budget, a silent server: told below, with the rows
                self._begin(rows, spent, log)
            return collect_rows(
                rows,
                self._questions,
                self._send,
                self.store,
                self.limits,
                spent=spent,
                log=log,
                **self._asking(),
            )

    def plan(self, rows: Iterable[RowBatch]) -> Plan:
        """What :meth:`collect` would ask; asks nothing. A choice that needs an answer is not made."""
        costs: dict[str, tuple[int, float]] = {}
        if (
            (first := next(iter(rows), None)) is not None
            and not self._is_chosen
            and self.store.path.is_file()
        ):
            with suppress(_NotAsked):
                self.kind.prepare(_first_row(first.inputs), self._kept)
        for batch in rows:
            for question in chain.from_iterable(self._questions(batch.inputs)):
                costs[question.identity] = question.tokens, question.cost
        there = self.store.known(costs) if self.store.path.is_file() else set()
        todo = [entry for identity, entry in costs.items() if identity not in there]
        requests = -(-len(todo) // self.kind.inputs_per_request)
        cost = None if self.prices is None else sum(c for _, c in todo)
        return Plan(len(costs), len(there), requests, sum(tokens for tokens, _ in todo), cost)

    # ---- asking --------------------------------------------------------------------------------------------

    def _begin(self, rows: Iterable[RowBatch], spent: Spent, log: Callable[..., None]) -> None:
        """What comes before the mass asking: the kind's own choices, and the probe."""
        first = next(iter(rows), None)
        if first is None or not len(first):
            return
        named_questions(
            self._questions, first
        )  # a row that cannot be asked about is named before the first request
        self._choose(first.inputs, spent)
        question = self._questions(_first_row(first.inputs))[0][0]
        extra = [self._question(question.payload, f"probe {n}") for n in range(1, self.probe)]
        answers = self._asked([question, *extra][: max(self.probe, 1)], spent, one_by_one=True)
        good = [answer for answer in answers.values() if isinstance(answer, Answer)]
        if good:
            self.kind.learn(good[0])
        if len(good) < 2:
            return
        spread = self.kind.spread(good)
        log("probe", answers=len(good), spread=round(spread, 6))
        if spread > self.kind.max_spread:
            warnings.warn(
                f"{self.model} answers one question differently each time (spread {spread:.3g} over {len(good)} "
                f"answers, above {self.kind.max_spread:g}); what a student learns from one answer is noise to that "
                "extent: set the temperature to 0, or ask for more samples.",
                stacklevel=4,
            )

    def _choose(self, inputs: Mapping[str, Any], spent: Spent) -> None:
        """The kind's own choices, once, by the first row."""
        if not self._is_chosen and len(next(iter(inputs.values()), ())):
            self.kind.prepare(_first_row(inputs), lambda payloads: self._ask_payloads(payloads, spent))
            self._is_chosen = True

    def _ask_payloads(self, payloads: Sequence[Any], spent: Spent) -> list[Answer | Refused]:
        """Asked now; a refusal is kept too, so that a choice is the same in the next run, server or not."""
        questions = list(self._numbered(payloads))
        answers = self._asked(questions, spent)
        found = [answers[question.identity] for question in questions]
        for question, answer in zip(questions, found):
            if isinstance(answer, Refused) and answer.reason.startswith("refused"):
                self.store.put(
                    question.identity, Answer({REFUSED: answer.reason}), self.server.endpoint, self.model
                )
        return found

    def _kept(self, payloads: Sequence[Any]) -> list[Answer | Refused]:
        """As :meth:`_ask_payloads`, from the store alone. Raises: _NotAsked."""
        found = [self.store.get(question.identity) for question in self._numbered(payloads)]
        if any(answer is None for answer in found):
            raise _NotAsked
        reasons = [refusal(answer) for answer in found if answer is not None]
        return [a if r is None else Refused(r) for a, r in zip(found, reasons)]  # type: ignore[misc]

    def _asked(
        self, questions: Sequence[Question], spent: Spent, one_by_one: bool = False
    ) -> dict[str, Answer | Refused]:
        """Answers and refusals by identity, from the store or asked now. Raises: UnansweredError."""
        identities = {question.identity for question in questions}
        found = self.store.get_many(identities)
        missing: dict[str, str] = {}
        if len(found) < len(identities):
            asking = self._asking() | ({"per_request": 1} if one_by_one else {})
            outcome = ask_all(questions, self._send, self.store, self.limits, spent=spent, **asking)
            if outcome.error is not None:
                raise outcome.error
            if outcome.wrong:
                raise InconsistentOutputError(f"{self.model} gave {next(iter(outcome.wrong.values()))}.")
            found, missing = self.store.get_many(identities), outcome.missing
            if lacking := len(identities - found.keys() - missing.keys()):
                why = outcome.stopped or next(iter(outcome.unanswered.values()), "no answer")
                raise UnansweredError(
                    f"{why}: {lacking} questions have no answer; run the same again to go on."
                )
        answers: dict[str, Answer | Refused] = {i: Refused(reason) for i, reason in missing.items()}
        for identity, answer in found.items():
            reason = refusal(answer)
            answers[identity] = answer if reason is None else Refused(reason)
        return answers

    def _asking(self) -> dict[str, Any]:
        self.server.load()
        return {
            "endpoint": self.server.endpoint,
            "model": self.model,
            "per_request": self.kind.inputs_per_request,
            "close": self.server.close,
        }

    async def _send(self, questions: Sequence[Question]) -> Reply:
        payloads = [question.payload for question in questions]
        reply = await self.server.post(self.kind.path, {"model": self.model, **self.kind.body(payloads)})
        usage = reply.get("usage")
        tokens = cost = None
        if isinstance(usage, Mapping):
            asked, said = _counted(usage, "prompt_tokens", "input_tokens"), _counted(usage, *_SAID)
            tokens = _counted(usage, "total_tokens") or asked + said or None
            if asked + said and self.prices is not None:
                cost = self.prices.cost(asked, said)
        try:
            return Reply(await self._read(reply, payloads), tokens=tokens, cost=cost)
        except (BadAnswer, Refused) as failure:  # useless, and paid
            failure.paid = Reply([], tokens=tokens, cost=cost)
            raise

    async def _read(
        self, reply: dict[str, Any], payloads: Sequence[Any]
    ) -> list[Answer | Refused | WrongAnswer]:
        try:
            if self.kind.takes_time:
                return await asyncio.to_thread(self.kind.read, reply, payloads)
            return self.kind.read(reply, payloads)
        except (LookupError, TypeError, ValueError, AttributeError):  # a number where a list should be, ...
            raise BadAnswer("an answer that cannot be read") from None

    # ---- questions -----------------------------------------------------------------------------------------

    def _questions(self, inputs: Mapping[str, Any]) -> list[list[Question]]:
        return [list(self._numbered(payloads)) for payloads in self.kind.payloads(inputs)]

    def _numbered(self, payloads: Sequence[Any]) -> Iterator[Question]:
        """Equal payloads of a row are samples of one question: the n-th has the sample number n."""
        if len(payloads) == 1:
            yield self._question(payloads[0], 0)
            return
        counts: dict[str, int] = {}
        for payload in payloads:
            digest = settings_fingerprint(payload)
            yield self._question(payload, counts.setdefault(digest, 0))
            counts[digest] += 1

    def _question(self, payload: Any, sample: int | str) -> Question:
        kind = self.kind
        identity = identity_of(
            self.server.endpoint, self.model, self.kind_name, kind.parameters(), payload, sample
        )
        asked, said = kind.tokens(payload)
        cost = 0.0 if self.prices is None else self.prices.cost(asked, said, 1 / kind.inputs_per_request)
        return Question(identity, payload, asked + said, cost)


def _counted(usage: Mapping[str, Any], *names: str) -> int:
    """The first of these counts that a server gives; 0 where it gives none."""
    found = (usage.get(name) for name in names)
    return next((int(n) for n in found if isinstance(n, (int, float)) and n > 0), 0)


class _NotAsked(Exception):
    """The store does not know what a choice depends on."""


def _first_row(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[:1] for name, value in inputs.items()}


def _make(kind: str, options: Mapping[str, Any]) -> Kind:
    import inspect

    module, _, name = KINDS[kind].partition(":")
    found = getattr(importlib.import_module(module), name)
    known = list(inspect.signature(found).parameters)
    for option in options:
        if option not in known:
            raise UnknownNameError(f"kind={kind!r} has no option {option!r}; {nearest(option, known)}")
    return found(**options)
