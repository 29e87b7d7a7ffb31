"""A teacher behind an OpenAI-compatible server: asked once, its answers kept."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.banks.rows import RowBatch
from limbeck.errors import ConfigError, InconsistentOutputError, UnansweredError, UnknownNameError, nearest
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.key import Key
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.asking import ask_all, asking_lock
from limbeck.teachers.api.collecting import collect_rows, named_questions
from limbeck.teachers.api.endpoint_kind import Kind
from limbeck.teachers.api.exchange import CHANGED, Exchange
from limbeck.teachers.api.limits import Limits, Prices, Spent
from limbeck.teachers.api.outcome import Outcome
from limbeck.teachers.api.questions import FAILED, REFUSED, Question, Refused, refusal
from limbeck.teachers.api.server import Server

# Module and class of each kind; loaded when it is asked for.
KINDS = {
    "embeddings": "limbeck.teachers.api.embeddings:Embeddings",
    "chat": "limbeck.teachers.api.chat:ChatKind",
    "text": "limbeck.teachers.api.text:TextKind",
    "images": "limbeck.teachers.api.images:ImagesKind",
}
_ONLY_FORM = ("encoding_format", "response_format")
_PROBED_ROWS = 3  # that are tried for the probe, one after the other


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
        self._exchange = Exchange(kind, self.kind, self.server, prices)
        self._is_chosen = False
        self._changed: dict[str, str] = {}  # parameters that the server would not take, by the answers
        self._told: set[str] = set()
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
        changed = {"changed_parameters": dict(sorted(self._changed.items()))} if self._changed else {}
        return {"model": self.model, "kind": self.kind_name, **self.kind.notes, **changed}

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
        questions = self._exchange.questions(inputs)
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
                self._changed |= answer.data.get(CHANGED) or {}
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
            try:
                return collect_rows(
                    rows,
                    self._exchange.questions,
                    self._exchange.send,
                    self.store,
                    self.limits,
                    spent=spent,
                    log=log,
                    **self._asking(),
                )
            finally:
                self._tell_changes()
                if said := self.server.terms.said:
                    log("changed", parameters=self.server.terms.changes, words=said)

    def plan(self, rows: Iterable[RowBatch]) -> Plan:
        """What :meth:`collect` would ask; asks nothing. A choice that needs an answer is not made."""
        costs: dict[str, tuple[int, float]] = {}
        if (
            (first := next(iter(rows), None)) is not None
            and not self._is_chosen
            and self.store.path.is_file()
        ):
            with suppress(_NotAsked):
                self.kind.prepare(_row(first.inputs, 0), self._kept)
        for batch in rows:
            for question in chain.from_iterable(self._exchange.questions(batch.inputs)):
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
        # a row that cannot be asked about is named before the first request
        questions = named_questions(self._exchange.questions, first)
        self._choose(first.inputs, spent)
        if self._exchange.questions(_row(first.inputs, 0))[0][0].identity != questions[0][0].identity:
            questions = self._exchange.questions(first.inputs)  # by what was chosen
        good = self._probe([asked[0] for asked in questions[:_PROBED_ROWS]], spent)
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

    def _probe(self, questions: Sequence[Question], spent: Spent) -> list[Answer]:
        """Several answers to one of the questions, the first that has any; one alone goes ahead, which may teach what
        the server does not take. Raises: UnansweredError where none has one."""
        failed: list[str] = []
        for question in questions:
            first = self._asked([question], spent, failed)[question.identity]
            if isinstance(first, Answer):
                extra = [
                    self._exchange.question(question.payload, f"probe {n}") for n in range(1, self.probe)
                ]
                more = self._asked(extra, spent, failed, one_by_one=True) if extra else {}
                return [first, *(answer for answer in more.values() if isinstance(answer, Answer))]
        if len(failed) == len(questions):
            self._give_up(failed, spent)
        return []

    def _choose(self, inputs: Mapping[str, Any], spent: Spent) -> None:
        """The kind's own choices, once, by the first row. Raises: UnansweredError where nothing was answered."""
        if self._is_chosen or not len(next(iter(inputs.values()), ())):
            return
        failed: list[str] = []
        heard: list[Answer | Refused] = []

        def ask(payloads: Sequence[Any]) -> list[Answer | Refused]:
            found = self._ask_payloads(payloads, spent, failed)
            heard.extend(found)
            return found

        self.kind.prepare(_row(inputs, 0), ask)
        if failed and len(failed) == len(heard):
            self._give_up(failed, spent)
        self._is_chosen = True

    def _give_up(self, failed: Sequence[str], spent: Spent) -> None:
        spent.stopped = failed[0]
        raise UnansweredError(f"{failed[0]}: run the same again to go on.")

    def _ask_payloads(
        self, payloads: Sequence[Any], spent: Spent, failed: list[str]
    ) -> list[Answer | Refused]:
        """Asked now; a refusal is kept too, so that a choice is the same in the next run, server or not."""
        questions = list(self._exchange.numbered(payloads))
        answers = self._asked(questions, spent, failed)
        found = [answers[question.identity] for question in questions]
        for question, answer in zip(questions, found):
            if isinstance(answer, Refused) and answer.reason.startswith("refused"):
                self.store.put(
                    question.identity, Answer({REFUSED: answer.reason}), self.server.endpoint, self.model
                )
        return found

    def _kept(self, payloads: Sequence[Any]) -> list[Answer | Refused]:
        """As :meth:`_ask_payloads`, from the store alone. Raises: _NotAsked."""
        found = [self.store.get(question.identity) for question in self._exchange.numbered(payloads)]
        if any(answer is None for answer in found):
            raise _NotAsked
        reasons = [self._reason_against(answer) for answer in found if answer is not None]
        return [a if r is None else Refused(r) for a, r in zip(found, reasons)]  # type: ignore[misc]

    def _asked(
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
            asking = self._asking() | ({"per_request": 1} if one_by_one else {})
            outcome = ask_all(questions, self._exchange.send, self.store, self.limits, spent=spent, **asking)
            self._tell_changes()
            if outcome.error is not None:
                raise outcome.error
            if outcome.wrong:
                raise InconsistentOutputError(f"{self.model} gave {next(iter(outcome.wrong.values()))}.")
            found, missing = self.store.get_many(identities), outcome.missing
            if lacking := identities - found.keys() - missing.keys():
                missing = missing | self._unanswered(outcome, lacking, spent, failed)
        answers: dict[str, Answer | Refused] = {i: Refused(reason) for i, reason in missing.items()}
        for identity, answer in found.items():
            reason = self._reason_against(answer)
            answers[identity] = answer if reason is None else Refused(reason)
        return answers

    def _unanswered(
        self, outcome: Outcome, lacking: set[str], spent: Spent, failed: list[str] | None
    ) -> dict[str, str]:
        """Reasons for questions without an answer; see :meth:`_asked`."""
        why = outcome.stopped or next(iter(outcome.unanswered.values()), "no answer")
        if failed is None or not outcome.spoke:
            raise UnansweredError(
                f"{why}: {len(lacking)} questions have no answer; run the same again to go on."
            )
        failed += [why] * len(lacking)
        spent.stopped = ""
        return {i: f"{FAILED} ({outcome.unanswered.get(i, 'no answer')})" for i in lacking}

    def _reason_against(self, answer: Answer) -> str | None:
        """Why a kept answer is none: it is a refusal, or says nothing by today's reading."""
        return refusal(answer) or self.kind.fault(answer)

    def _asking(self) -> dict[str, Any]:
        self.server.load()
        return {
            "endpoint": self.server.endpoint,
            "model": self.model,
            "per_request": self.kind.inputs_per_request,
            "close": self.server.close,
            "useless": self.kind.fault,
            "alive": self.server.alive,
        }

    def _tell_changes(self) -> None:
        """Warn once of every parameter that the server would not take, unless it only says how an answer is sent."""
        terms = self.server.terms
        for step in terms.steps:
            of_another = step.name == "top_logprobs" and not step.how  # goes with logprobs
            if step.name in self._told or step.name in _ONLY_FORM or step.how == "rename" or of_another:
                continue
            self._told.add(step.name)
            value = "" if step.how == "fold" else f"={step.value!r}"
            warnings.warn(
                f"The server {self.server.endpoint} does not take {step.name}{value} from {self.model} "
                f"({terms.said[step.name]}); it is {step.words} in this run.",
                stacklevel=5,
            )


class _NotAsked(Exception):
    """The store does not know what a choice depends on."""


def _row(inputs: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {name: value[number : number + 1] for name, value in inputs.items()}


def _make(kind: str, options: Mapping[str, Any]) -> Kind:
    import inspect

    module, _, name = KINDS[kind].partition(":")
    found = getattr(importlib.import_module(module), name)
    known = list(inspect.signature(found).parameters)
    for option in options:
        if option not in known:
            raise UnknownNameError(f"kind={kind!r} has no option {option!r}; {nearest(option, known)}")
    return found(**options)
