"""What one kind of endpoint (embeddings, chat, images) adds to the common way of asking an API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from limbeck.banks.answers import Answer
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.questions import BadAnswer, Refused

# Asks one item through the store and within the budget: payloads in, answers (or refusals) out, in order.
Ask = Callable[[Sequence[Any]], list[Answer | Refused]]


class Kind(Protocol):
    """One kind of question; made from the options that :class:`~limbeck.teachers.api.teacher.APITeacher` passes on.

    Attributes:
        path: below the base URL, ``/embeddings``.
        access: what the answers give.    class_names: in the order of log_probs, or ``None``.
        inputs_per_request: how many payloads one request may carry.
        max_spread: largest :meth:`spread` of repeated answers that passes without a warning.
        takes_time: reading an answer takes so long that other answers must not wait for it; then :meth:`read` runs in
            a thread.
        notes: what the bank says of how its answers came about; final after the last answer was read.
    """

    path: str
    access: AccessLevel
    class_names: tuple[str, ...] | None
    inputs_per_request: int
    max_spread: float
    takes_time: bool
    notes: dict[str, Any]

    def parameters(self) -> dict[str, Any]:
        """JSON-able settings that an answer depends on; in the identity of answers."""

    def settings(self) -> dict[str, Any]:
        """JSON-able settings that a bank depends on, the same before and after :meth:`prepare`; fingerprinted."""

    def prepare(self, inputs: Mapping[str, Any], ask: Ask) -> None:
        """Look at the first row (a batch of one) before all are asked, and ask it if a choice depends on it.

        Its last chance to change :meth:`parameters`; called before the first :meth:`payloads`.
        """

    def payloads(self, inputs: Mapping[str, Any]) -> list[list[Any]]:
        """For each row the JSON-able payloads to ask; equal payloads within a row are samples of one question.

        Raises: DataError naming what is wrong with an input (an empty text).
        """

    def tokens(self, payload: Any) -> tuple[int, int]:
        """Estimated tokens of the question and of its answer."""

    def body(self, payloads: Sequence[Any]) -> dict[str, Any]:
        """The JSON body of one request, without the model."""

    def changed(self, changes: Mapping[str, str]) -> None:
        """The server would not take some parameters as they were; name to what has become of each."""

    def read(self, reply: dict[str, Any], payloads: Sequence[Any]) -> list[Answer | Refused | BadAnswer]:
        """Answers in the order of ``payloads``. Raises: BadAnswer where the reply answers none of them."""

    def fault(self, answer: Answer) -> str | None:
        """Why a kept answer is no use by today's reading; ``None`` if it is of use."""

    def learn(self, answer: Answer) -> None:
        """See one answer of this teacher that is known to be good (it fixes the width of an embedding)."""

    def output(self, answers: Sequence[Sequence[Answer]]) -> TeacherOutput:
        """What the bank keeps, from the answers of each row."""

    def spread(self, answers: Sequence[Answer]) -> float:
        """How far repeated answers to one question lie apart, 0 = equal."""
