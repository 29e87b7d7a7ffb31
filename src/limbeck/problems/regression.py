"""One number for each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import widened
from limbeck.problems.base import Problem, Shown, Targets
from limbeck.problems.metric import PEARSON, RMSE, SPEARMAN, Metric
from limbeck.signals.cells import number_of


@dataclass(frozen=True)
class Regression(Problem):
    """Targets are numbers ``[N]`` float32; the loss is the squared error of the one logit."""

    kind: ClassVar[str] = "regression"
    measures: ClassVar[tuple[Metric, ...]] = (PEARSON, SPEARMAN, RMSE)
    model_config: ClassVar[Mapping[str, Any]] = {"problem_type": "regression"}
    title: ClassVar[str] = "A regression model: it predicts one value, {names}."

    def n_outputs(self) -> int:
        return 1

    def check(self, targets: Targets, source: str) -> None:
        known = targets.values[targets.known]
        if not len(known) or bool((known == known[0]).all()):
            raise DataError(
                f"{source} has {'one value' if len(known) else 'no value'} to predict in training."
            )

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        (logits,) = widened(out.logits)
        return (logits[targets.known, 0] - targets.values[targets.known]).square().sum()

    def match(
        self, logits_s: Tensor, logits_t: Tensor, *, temperature: float = 1.0, trains_teacher: bool = False
    ) -> Tensor:
        """The squared difference; the temperature has no meaning here."""
        logits_s, logits_t = widened(logits_s, logits_t)
        return (logits_s - (logits_t if trains_teacher else logits_t.detach())).square().sum()

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        return {"found": out.logits[:, 0].float(), "true": targets.values, "known": targets.known}

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        known = statistics["known"].bool()
        found, true = (statistics[name][known].double() for name in ("found", "true"))
        if not len(true):
            return dict.fromkeys((metric.name for metric in self.measures), float("nan"))
        from scipy.stats import rankdata

        ranks = (torch.from_numpy(rankdata(x.numpy())) for x in (found, true))
        return {
            "pearson": _correlation(found, true),
            "spearman": _correlation(*ranks),
            "rmse": math.sqrt(float((found - true).square().mean())),
        }

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        return [{"value": row[0]} for row in self.predictions(outputs).tolist()]

    def told(self, answer: Mapping[str, Any]) -> str:
        return f"{answer['value']:.4g}"

    @classmethod
    def label(cls, cell: Any) -> float:
        try:
            value = number_of(cell)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        raise DataError(f"has {cell!r} where a finite number is predicted")

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return (column,)

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        values = torch.tensor([0.0 if label is None else float(label) for label in labels])
        return Targets(values, torch.tensor([label is not None for label in labels], dtype=torch.bool))


def _correlation(found: Tensor, true: Tensor) -> float:
    """Pearson's; 0 where either side does not vary, since a constant predicts nothing."""
    found, true = found - found.mean(), true - true.mean()
    size = float(found.norm() * true.norm())
    return float(found @ true) / size if size > 0 else 0.0
