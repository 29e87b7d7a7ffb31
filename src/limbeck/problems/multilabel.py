"""Any number of classes for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ClassNamesError, DataError, some
from limbeck.functional.precision import widened
from limbeck.problems.base import Problem, Shown, Targets, likeliest
from limbeck.problems.metric import AVERAGE_PRECISION, MACRO_F1, MICRO_F1, Metric
from limbeck.signals.cells import classes_of, name_of

LIKELY = 0.5  # from this probability on a class is said to be there
SEPARATOR = "|"  # between the class names of one cell


@dataclass(frozen=True)
class MultiLabel(Problem):
    """Targets are 0 or 1 for each class, ``[N, C]`` float32; the loss is the binary cross-entropy, its mean over the
    classes summed over the rows. A class is said to be there from a probability of one half on."""

    kind: ClassVar[str] = "multilabel"
    measures: ClassVar[tuple[Metric, ...]] = (MICRO_F1, MACRO_F1, AVERAGE_PRECISION)
    model_config: ClassVar[Mapping[str, Any]] = {"problem_type": "multi_label_classification"}
    turned: ClassVar[str] = ".sigmoid()"
    title: ClassVar[str] = "A classifier that finds any of {n} classes: {names}."

    def check(self, targets: Targets, source: str) -> None:
        if not self.names:
            raise DataError(f"{source} holds no labels; at least one class is needed.")
        found = targets.values[targets.known].sum(0) if targets.known.any() else torch.zeros(len(self.names))
        if absent := [name for name, count in zip(self.names, found.tolist()) if not count]:
            raise DataError(f"The labelled training rows of {source} have no row of class {some(absent)}.")

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        logits, wanted = out.logits[targets.known], targets.values[targets.known]
        (logits,) = widened(logits)
        return F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="sum") / len(
            self.names
        )

    def match(
        self, logits_s: Tensor, logits_t: Tensor, *, temperature: float = 1.0, trains_teacher: bool = False
    ) -> Tensor:
        r"""Binary KL of each class at a temperature T, :math:`T^2` times, its mean over the classes."""
        logits_s, logits_t = (logits / temperature for logits in widened(logits_s, logits_t))
        logits_t = logits_t if trains_teacher else logits_t.detach()
        p = logits_t.sigmoid()
        gap = F.binary_cross_entropy_with_logits(logits_s, p, reduction="sum")
        entropy = F.binary_cross_entropy_with_logits(logits_t, p, reduction="sum")
        return temperature**2 * (gap - entropy) / len(self.names)

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        return {"share": self.predictions(out.logits), "true": targets.values, "known": targets.known}

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        from torchmetrics.functional import classification

        known = statistics["known"].bool()
        share, true = statistics["share"][known], statistics["true"][known].long()
        if not len(true):
            return dict.fromkeys((metric.name for metric in self.measures), float("nan"))
        found, n = (share >= LIKELY).long(), len(self.names)
        return {
            "micro_f1": float(classification.multilabel_f1_score(found, true, n, average="micro")),
            "macro_f1": float(classification.multilabel_f1_score(found, true, n, average="macro")),
            "average_precision": _mean_precision(share, true),
        }

    def predictions(self, outputs: Tensor) -> Tensor:
        (logits,) = widened(outputs)
        return logits.sigmoid()

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        answers = super().answers(outputs)
        return [{"classes": [n for n, p in a["probabilities"].items() if p >= LIKELY], **a} for a in answers]

    def told(self, answer: Mapping[str, Any]) -> str:
        return f"{' + '.join(answer['classes']) or 'none'}  ({likeliest(answer['probabilities'])})"

    @classmethod
    def label(cls, cell: Any) -> tuple[str, ...]:
        """Class names of a cell, ``"cat|dog"`` or a list; ``"|"`` alone says that the row has none."""
        parts = cell.split(SEPARATOR) if isinstance(cell, str) else cell
        if not isinstance(parts, (list, tuple)):
            raise DataError(
                f"has {cell!r} where class names joined by {SEPARATOR!r}, or a list of them, are needed"
            )
        return tuple(dict.fromkeys(name for part in parts if (name := name_of(part))))

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return tuple(classes_of(name for label in labels for name in label or ()))

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        if unknown := {name for label in labels for name in label or ()} - set(names):
            raise ClassNamesError(f"Labels are no class names: {some(sorted(unknown))}; name all classes.")
        values = torch.tensor([[float(name in (label or ())) for name in names] for label in labels])
        known = torch.tensor([label is not None for label in labels], dtype=torch.bool)
        return Targets(values.reshape(len(labels), len(names)), known)


def _mean_precision(share: Tensor, true: Tensor) -> float:
    """Average precision, its mean over the classes that occur; NaN where none does."""
    from torchmetrics.functional.classification import multilabel_average_precision

    there = true.any(0)
    if not there.any():
        return float("nan")
    return float(
        multilabel_average_precision(share[:, there], true[:, there], int(there.sum()), average="macro")
    )
