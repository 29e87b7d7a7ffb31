"""What a bank asks of a teacher; the teachers themselves are in :mod:`limbeck.teachers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from limbeck.signals.output import AccessLevel, TeacherOutput


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
