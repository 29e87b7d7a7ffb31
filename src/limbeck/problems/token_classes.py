"""One class for each token or frame of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from limbeck.problems.metric import ACCURACY, MACRO_F1, Metric
from limbeck.problems.positions import Positions, accuracy, macro_f1, summed


@dataclass(frozen=True)
class TokenClasses(Positions):
    """Targets are class numbers ``[N, L]``, -100 where a token does not count (padding, further parts of a word)."""

    kind: ClassVar[str] = "token_classes"
    measures: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1)
    auto_model: ClassVar[str | None] = "TokenClassification"
    title: ClassVar[str] = "A classifier of tokens into {n} classes: {names}."

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        counts = summed(statistics)
        return {"accuracy": accuracy(counts), "macro_f1": macro_f1(counts)}

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        found = outputs.argmax(-1)
        rows = [row if mask is None else row[mask[i].bool()] for i, row in enumerate(found)]
        return [{"classes": [self.names[c] for c in row.tolist()]} for row in rows]

    def told(self, answer: Mapping[str, Any]) -> str:
        return " ".join(answer["classes"])
