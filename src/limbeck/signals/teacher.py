"""What a bank asks of a teacher; the teachers themselves are in :mod:`limbeck.teachers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from limbeck.signals.key import Key
from limbeck.signals.output import AccessLevel, TeacherOutput

if TYPE_CHECKING:
    from limbeck.banks.rows import RowBatch


@runtime_checkable
class Teacher(Protocol):
    """Anything that answers a batch of inputs.

    Attributes:
        class_names: names of its classes in the order of its logits, or ``None``.
        access: what it gives: ``weights``, ``logits``, ``features`` or ``text``.
        head: its classifier, ``(weight [C, D], bias [C] or None)``, or ``None``.
    """

    access: AccessLevel

    @property
    def class_names(self) -> Sequence[str] | None: ...

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None: ...

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """Outputs for ``m`` inputs, one row each, in their order.

        Args:
            inputs: column name to a tensor ``[m, ...]``, or to a list of ``m`` values that are no numbers.
        """

    def fingerprint(self) -> dict[str, str]:
        """Named parts (weights, preprocessing, ...) to hashes; equal parts give equal answers."""


@runtime_checkable
class AsksAhead(Teacher, Protocol):
    """A teacher that a bank asks about all rows before it is compiled, many at a time, keeping each answer at once."""

    def collect(self, rows: Iterable[RowBatch], log: Callable[..., None]) -> Mapping[Key, str]:
        """Ask about all rows; calling the teacher afterwards asks nothing.

        Args:
            rows: may be iterated several times; has ``total``, the number of rows or ``None``.
            log: ``log(event, **facts)`` writes a line of ``build.jsonl``: costs, times, failures.

        Returns: keys without an answer for good (left out of the bank, in all their views) to the reason.
        Raises: UnansweredError where asking again later would help.
        """


@runtime_checkable
class SortsRows(Teacher, Protocol):
    """A teacher that, given many rows at once, reads those of like length together."""

    def window(self, most: int) -> int:
        """Rows to hand over at once, at least ``most``."""

    def __call__(self, inputs: Mapping[str, Any], most: int | None = None) -> TeacherOutput:
        """As a teacher, with at most ``most`` rows in one forward."""


COMPARED_ROWS = 32


def first_rows(inputs: Mapping[str, Any], n: int = COMPARED_ROWS) -> dict[str, Any]:
    """The first rows of every column, which do not hold the others in memory."""
    return {k: v[:n].clone() if isinstance(v, Tensor) else v[:n] for k, v in inputs.items()}


@runtime_checkable
class ComparesItself(Teacher, Protocol):
    """A teacher that computes in a cheaper way than it could, and notes (``notes``) what that changes."""

    def compare(self, inputs: Mapping[str, Any]) -> None:
        """Find out on the first of these rows; later calls find nothing new."""


@runtime_checkable
class PreparesRows(Teacher, Protocol):
    """A teacher whose call is in two steps: the first, which decodes pictures and sounds, needs no model."""

    def prepare(self, inputs: Mapping[str, Any], most: int | None = None) -> Any:
        """What :meth:`read` takes. Runs in another thread while the model answers other rows: it changes nothing, and
        leaves for :meth:`read` what only one thread may use (a tokenizer, an open file).

        Args:
            most: rows in one forward.
        """

    def read(self, prepared: Any) -> TeacherOutput:
        """The answer: ``read(prepare(inputs))`` is what a call with ``inputs`` gives, to the bit."""
