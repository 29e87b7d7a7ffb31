"""Asking about every row of a data set before its bank is compiled, and saying what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from limbeck.banks.answers import AnswerStore
from limbeck.banks.rows import RowBatch
from limbeck.errors import DataError, InconsistentOutputError, UnansweredError, UnreadableRowsError, some
from limbeck.progress import progress
from limbeck.signals.key import Key
from limbeck.teachers.api.asking import Outcome, ask_all
from limbeck.teachers.api.limits import Limits, Spent
from limbeck.teachers.api.questions import Question, Send

# The questions of each row of a batch of inputs.
QuestionsOf = Callable[[Mapping[str, Any]], Sequence[Sequence[Question]]]


def collect_rows(
    rows: Iterable[RowBatch],
    questions_of: QuestionsOf,
    send: Send,
    store: AnswerStore,
    limits: Limits,
    *,
    model: str,
    spent: Spent,
    log: Callable[..., None],
    **asking: Any,
) -> dict[Key, str]:
    """Ask all questions of all rows; returns the keys without an answer for good, and why.

    A key is left out when one of its questions (in one of its views) has no answer. Costs, latency and
    failures go to ``log("asked", ...)``.

    Args:
        rows: batches; ``total`` rows, where it has that.    spent: the run so far, whose budget this shares.
        asking: further arguments of :func:`~limbeck.teachers.api.asking.ask_all`.

    Raises:
        UnansweredError: budget spent, server gone: how many answers are kept, how many rows lack one.
        InconsistentOutputError: answers of another width, with their keys.
        ConfigError, UnknownNameError: wrong key, unknown model.
    """
    of_key: dict[Key, list[str]] = {}

    def questions() -> Iterator[Question]:
        for batch in rows:
            for key, asked in zip(batch.keys, named_questions(questions_of, batch), strict=True):
                of_key.setdefault(key, []).extend(question.identity for question in asked)
                yield from asked

    source = questions()
    with progress(f"Asking {model}", getattr(rows, "total", None), "answers") as advance:
        outcome = ask_all(
            source,
            send,
            store,
            limits,
            model=model,
            spent=spent,
            on_progress=lambda n, spent: advance(n, note_of(spent)),
            **asking,
        )
    facts = {**spent.facts(), "already": outcome.already, "left": outcome.left, "stopped": outcome.stopped}
    log("asked", model=model, **facts, **({"words": outcome.words} if outcome.words else {}))
    if outcome.error is not None:
        raise outcome.error
    if outcome.stopped:
        for _ in source:  # the rows that were not reached count too
            pass
        raise UnansweredError(_unanswered(outcome, of_key, store))
    if wrong := {key: outcome.wrong[i] for key, ids in of_key.items() for i in ids if i in outcome.wrong}:
        reason = next(iter(wrong.values()))
        raise InconsistentOutputError(
            f"{model} gave {reason} for {len(wrong)} keys: {some(wrong)}; the other answers are kept and these are "
            "not: look at the server (does one model answer there?) and run again to ask about these alone."
        )
    return {
        key: outcome.missing[i] for key, ids in of_key.items() for i in reversed(ids) if i in outcome.missing
    }


def named_questions(questions_of: QuestionsOf, batch: RowBatch) -> Sequence[Sequence[Question]]:
    """The questions of a batch. Raises: DataError naming the key of the first row that cannot be asked about."""
    try:
        return questions_of(batch.inputs)
    except DataError:
        for number, key in enumerate(batch.keys):
            try:
                questions_of({name: value[number : number + 1] for name, value in batch.inputs.items()})
            except DataError as error:
                raise UnreadableRowsError(
                    f"The row with key {key!r} cannot be asked about: {error}", [number]
                ) from None
        raise


def note_of(spent: Spent) -> str:
    """Cost and repeats so far, for the progress bar."""
    parts = [f"cost {spent.cost:,.4g}"] if spent.cost else []
    if n := sum(spent.failures.values()):
        parts.append(f"{n} failed and repeated")
    return ", ".join(parts)


def _unanswered(outcome: Outcome, of_key: Mapping[Key, Sequence[str]], store: AnswerStore) -> str:
    """One sentence: why, what is kept, what is lacking, how to go on."""
    identities = {i for ids in of_key.values() for i in ids}
    there = store.known(identities)
    lacking = [key for key, ids in of_key.items() if not there >= set(ids)]
    left = ", ".join(f"{value:,.4g} {name}" for name, value in outcome.left.items())
    return (
        f"{outcome.stopped}: {len(there):,} answers are kept in {store.path} and {len(lacking):,} of {len(of_key):,} "
        f"rows still lack one (from key {lacking[0]!r} on){f'; of the budget {left} are left' if left else ''}; run "
        "the same again to go on from there, nothing is asked twice."
    )
