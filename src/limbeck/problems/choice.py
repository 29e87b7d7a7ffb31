"""Which of K choices of a row is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from limbeck.errors import DataError
from limbeck.problems.base import Targets
from limbeck.problems.classification import Classification


@dataclass(frozen=True)
class Choice(Classification):
    """A classification whose classes are places: logits ``[n, K]`` from one score for each choice."""

    kind: ClassVar[str] = "choice"
    auto_model: ClassVar[str | None] = "MultipleChoice"
    chooses: ClassVar[bool] = True
    title: ClassVar[str] = "A multiple-choice model: it scores the {n} choices of a row ({names})."

    def check(self, targets: Targets, source: str) -> None:
        """Every row offers all its choices, so that no place need be right somewhere."""
        if self.count(targets) == 0:
            raise DataError(f"{source} holds no labels; say which choice of a row is right.")
