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
from limbeck.errors import ConfigError, UnansweredError, UnknownNameError, nearest
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.key import Key
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.asker import Asker, NotAsked
from limbeck.teachers.api.asking import asking_lock
from limbeck.teachers.api.collecting import collect_rows, named_questions
from limbeck.teachers.api.endpoint_kind import Kind
from limbeck.teachers.api.exchange import CHANGED, Exchange
from limbeck.teachers.api.limits import Limits, Prices, Spent
from limbeck.teachers.api.questions import Question, Refused
from limbeck.teachers.api.server import Server

# Module and class of each kind; loaded when it is asked for.
KINDS = {
    "embeddings": "limbeck.teachers.api.embeddings:Embeddings",
    "chat": "limbeck.teachers.api.chat:ChatKind",
    "text": "limbeck.teachers.api.text:TextKind",
    "answers": "limbeck.teachers.api.text:AnswersKind",
    "images": "limbeck.teachers.api.images:ImagesKind",
}
_PROBED_ROWS = 3  # that are tried for the probe, one after the other


@dataclass(frozen=True)
class Plan:
    """What asking would take, for ``--dry-run``.

    Args:
        questions: different ones.    already: of them, those whose answer is in the store.
        requests: that remain.    tokens: estimated.    cost: estimated; ``None`` without prices.
        example: the body of the first request, ``None`` without rows.
    """

    questions: int
    already: int
    requests: int
    tokens: int
    cost: float | None
    example: dict[str, Any] | None = None


class APITeacher:
    """Asks an OpenAI-compatible server. Every answer is kept in an answer store the moment it arrives, so
    that nothing is asked twice, by any run.

    A bank that is built from it is asked for first, many requests at a time, and compiled afterwards. Called
    by itself it asks what the store lacks; all such calls together have one budget.

    Args:
        model: the server's name of the model.
        kind: ``embeddings``, ``chat``, ``text``, ``answers`` or ``images``.
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
        self._asker = Asker(self._exchange, self.store, self.limits)
        self._is_chosen = False
        self._changed: dict[str, str] = {}  # parameters that the server would not take, by the answers
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
        answers = self._asker.asked(list(chain.from_iterable(questions)), self._spent)
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
                    **self._asker.settings(),
                )
            finally:
                self._asker.tell_changes()
                if said := self.server.terms.said:
                    log("changed", parameters=self.server.terms.changes, words=said)

    def plan(self, rows: Iterable[RowBatch]) -> Plan:
        """What :meth:`collect` would ask; asks nothing. A choice that needs an answer is not made."""
        costs: dict[str, tuple[int, float]] = {}
        example: dict[str, Any] | None = None
        if (
            (first := next(iter(rows), None)) is not None
            and not self._is_chosen
            and self.store.path.is_file()
        ):
            with suppress(NotAsked):
                self.kind.prepare(_row(first.inputs, 0), self._asker.kept)
        for batch in rows:
            for question in chain.from_iterable(self._exchange.questions(batch.inputs)):
                example = example or {"model": self.model, **self.kind.body([question.payload])}
                costs[question.identity] = question.tokens, question.cost
        there = self.store.known(costs) if self.store.path.is_file() else set()
        todo = [entry for identity, entry in costs.items() if identity not in there]
        requests = -(-len(todo) // self.kind.inputs_per_request)
        cost = None if self.prices is None else sum(c for _, c in todo)
        return Plan(len(costs), len(there), requests, sum(tokens for tokens, _ in todo), cost, example)

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
            first = self._asker.asked([question], spent, failed)[question.identity]
            if isinstance(first, Answer):
                extra = [
                    self._exchange.question(question.payload, f"probe {n}") for n in range(1, self.probe)
                ]
                more = self._asker.asked(extra, spent, failed, one_by_one=True) if extra else {}
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
            found = self._asker.asked_payloads(payloads, spent, failed)
            heard.extend(found)
            return found

        self.kind.prepare(_row(inputs, 0), ask)
        if failed and len(failed) == len(heard):
            self._give_up(failed, spent)
        self._is_chosen = True

    def _give_up(self, failed: Sequence[str], spent: Spent) -> None:
        spent.stopped = failed[0]
        raise UnansweredError(f"{failed[0]}: run the same again to go on.")


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
