"""One class for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ClassNamesError, ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.functional.precision import widened
from limbeck.functional.response.predictions import distillation_kl
from limbeck.problems.base import Problem, Shown, Targets, class_numbers
from limbeck.problems.class_weights import BALANCED, balanced_weights, checked_weights
from limbeck.problems.metric import ACCURACY, BRIER, CALIBRATION, F1, MACRO_F1, MATTHEWS, Metric
from limbeck.signals.cells import classes_of, name_of
from limbeck.signals.classes import UNLABELLED

_FURTHER = {metric.name: metric for metric in (MATTHEWS, F1)}


@dataclass(frozen=True)
class Classification(Problem):
    """Targets are class numbers ``[N]``; the loss is the cross-entropy.

    Args:
        label_smoothing: in [0, 1), of the loss.
        also: further metrics: ``matthews`` (correlation of what is true and what was found), ``f1`` (of two classes:
            that of the second).
        class_weights: of the loss: ``balanced`` by the training rows, a weight for each of the names, or a mapping of
            some names to weights. A known row of the class counts so often; scores are not weighted.
    """

    label_smoothing: float = 0.0
    also: tuple[str, ...] = ()
    class_weights: Any = None

    kind: ClassVar[str] = "classification"
    measures: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1, CALIBRATION, BRIER)
    title: ClassVar[str] = "A classifier of {n} classes: {names}."
    turned: ClassVar[str] = ".softmax(-1)"
    is_distribution: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights, self.names))
        object.__setattr__(self, "also", tuple(self.also))  # a list where it was read from a file
        for name in self.also:
            if name not in _FURTHER:
                raise UnknownNameError(f"A {self.kind} has no metric {name!r}; {nearest(name, _FURTHER)}")
        if "f1" in self.also and len(self.names) not in (0, 2):
            raise ConfigError(
                f"The metric f1 is of two classes, and there are {len(self.names)}; take macro_f1."
            )
        super().__post_init__()

    @property
    def scored_by(self) -> tuple[Metric, ...]:
        return (*self.measures, *(_FURTHER[name] for name in self.also))

    def check(self, targets: Targets, source: str) -> None:
        if len(self.names) < 2:
            raise DataError(
                f"{source} holds {'only one class' if self.names else 'no labels'}; at least two are needed."
            )
        classes = self.classes(targets)
        if absent := [name for c, name in enumerate(self.names) if not bool((classes == c).any())]:
            raise DataError(f"The labelled training rows of {source} have no row of class {some(absent)}.")

    def fitted(self, targets: Targets) -> Problem:
        """With weights that balance the classes of ``targets``, where they are asked for."""
        if self.class_weights != BALANCED:
            return self
        known = targets.values[targets.known]
        changes: dict[str, Any] = {
            "class_weights": balanced_weights(known[known != UNLABELLED], len(self.names))
        }
        return replace(self, **changes)

    def weights(self, like: Tensor) -> Tensor | None:
        """``[C]`` weights of the classes in the type and place of some logits.

        Raises: ConfigError for weights that were never fitted.
        """
        if self.class_weights == BALANCED:
            raise ConfigError(
                "class_weights='balanced' is known when the training rows are; take problem.fitted(targets)."
            )
        return None if self.class_weights is None else like.new_tensor(self.class_weights)

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        return self._cross_entropy(out, targets, "sum")

    def row_losses(self, out: Shown, targets: Targets) -> Tensor:
        """``[N]``, what each row adds to :meth:`loss`; 0 where its class is unknown."""
        return self._cross_entropy(out, targets, "none")

    def _cross_entropy(self, out: Shown, targets: Targets, reduction: str) -> Tensor:
        (logits,) = widened(out.logits)
        return F.cross_entropy(
            logits,
            self.classes(targets),
            weight=self.weights(logits),
            ignore_index=UNLABELLED,
            label_smoothing=self.label_smoothing,
            reduction=reduction,
        )

    def match(
        self, logits_s: Tensor, logits_t: Tensor, *, temperature: float = 1.0, trains_teacher: bool = False
    ) -> Tensor:
        return distillation_kl(
            logits_s, logits_t, temperature=temperature, reduction="sum", trains_teacher=trains_teacher
        )

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        """``brier`` is the squared distance of the predicted distribution from the true one, in [0, 2]."""
        shares, true = out.logits.float().softmax(-1), self.classes(targets)
        confidence, found = shares.max(-1)
        of_true = shares.gather(-1, true.clamp(min=0)[:, None]).squeeze(-1)
        brier = shares.square().sum(-1) - 2 * of_true + 1
        return {"found": found, "confidence": confidence, "brier": brier, "true": true}

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        from torchmetrics.functional import classification

        found, true, confidence, brier = _known(statistics, "found", "true", "confidence", "brier")
        if not len(true):
            return dict.fromkeys((metric.name for metric in self.scored_by), float("nan"))
        n = max(len(self.names), 2)
        further = {
            "matthews": lambda: classification.multiclass_matthews_corrcoef(found, true, n),
            "f1": lambda: classification.binary_f1_score(found, true),
        }
        return {
            "accuracy": float((found == true).double().mean()),
            "macro_f1": float(classification.multiclass_f1_score(found, true, n, average="macro")),
            "calibration_error": float(
                classification.binary_calibration_error(confidence, (found == true).long())
            ),
            "brier": float(brier.double().mean()),
            **{name: float(further[name]()) for name in self.also},
        }

    def item_values(self, statistics: Mapping[str, Tensor], metric: str) -> Tensor | None:
        found, true, brier = _known(statistics, "found", "true", "brier")
        return {"accuracy": (found == true).double(), "brier": brier.double()}.get(metric)

    def confusion(self, statistics: Mapping[str, Tensor]) -> Tensor:
        found, true = _known(statistics, "found", "true")
        n = len(self.names)
        return torch.bincount(true * n + found, minlength=n * n).reshape(n, n)

    def confidences(self, statistics: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        found, true, confidence = _known(statistics, "found", "true", "confidence")
        return confidence, found == true

    def classes(self, targets: Targets) -> Tensor:
        return class_numbers(targets.values, targets.known)

    def predictions(self, outputs: Tensor) -> Tensor:
        (logits,) = widened(outputs)
        return logits.softmax(-1)

    @classmethod
    def label(cls, cell: Any) -> str:
        return name_of(cell)

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return tuple(classes_of(label for label in labels if label is not None))

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        number = {name: c for c, name in enumerate(names)}
        if unknown := [label for label in labels if label is not None and label not in number]:
            raise ClassNamesError(
                f"Labels are no class names: {some(dict.fromkeys(unknown))}; name all classes."
            )
        return numbered([None if label is None else number[label] for label in labels])


def _known(statistics: Mapping[str, Tensor], *names: str) -> list[Tensor]:
    """Columns of the rows whose class is known."""
    known = statistics["true"] != UNLABELLED
    return [statistics[name][known] for name in names]


def numbered(numbers: Sequence[int | None] | Tensor) -> Targets:
    """Targets of class numbers; None or a negative number = unknown."""
    values = torch.as_tensor([UNLABELLED if c is None else c for c in numbers], dtype=torch.int64)
    return Targets(values.clamp(min=0), values >= 0)
