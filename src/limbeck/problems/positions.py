"""What problems of one class for each position of a row (token, pixel) share.

Axis legend: n rows, p positions of a row, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ClassNamesError, ConfigError, DataError, some
from limbeck.functional.precision import widened
from limbeck.functional.response.vocabulary_loss import head_cross_entropy
from limbeck.problems.base import Reading, Shown, Targets
from limbeck.problems.classification import Classification
from limbeck.signals.classes import UNLABELLED

MANY = 8192  # classes from which logits are made a part at a time
HITS, FOUND, TRUE = range(3)


@dataclass(frozen=True)
class Positions(Classification):
    """Targets are class numbers ``[N, *p]``, -100 where a position does not count; the loss is the cross-entropy, a sum
    over the known positions. A base; see ``token_classes`` and ``segmentation``."""

    reading: ClassVar[Reading] = "positions"

    def at_positions(self, out: Shown, targets: Targets) -> Tensor:
        """``[n, *p]`` class numbers for the positions that the student shows, -100 = unknown."""
        return torch.where(
            targets.known.reshape(-1, *(1,) * (targets.values.ndim - 1)), targets.values, UNLABELLED
        )

    def check(self, targets: Targets, source: str) -> None:
        found = torch.unique(targets.values[targets.known])
        if len(self.names) < 2 or not len(found):
            raise DataError(f"{source} holds fewer than two classes of positions; at least two are needed.")
        if absent := [name for c, name in enumerate(self.names) if not bool((found == c).any())]:
            raise DataError(
                f"The labelled training rows of {source} have no position of class {some(absent)}."
            )

    def count(self, targets: Targets) -> int:
        return int((targets.values[targets.known] != UNLABELLED).sum())

    def positions(self, targets: Targets) -> int:
        return targets.values.numel()

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        classes = self.at_positions(out, targets)
        entered = getattr(out, "entered_plainly", None)
        if entered is not None and out.head is not None and len(self.names) >= MANY:
            weight, bias = out.head
            if self.class_weights is not None:
                raise ConfigError(f"class_weights are for fewer than {MANY:,} classes; leave them out.")
            return head_cross_entropy(
                entered,
                weight,
                classes,
                bias=bias,
                label_smoothing=self.label_smoothing,
                scale=out.form.scale,
                softcap=out.form.softcap,
            )
        (logits,) = widened(self._resized(out.logits, classes))
        known = classes != UNLABELLED
        return F.cross_entropy(
            logits[known],
            classes[known],
            weight=self.weights(logits),
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )

    def _resized(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Logits at the positions of ``classes``.

        Raises: DataError for other positions.
        """
        if logits.shape[:-1] != classes.shape:
            raise DataError(
                f"The student answers at {list(logits.shape[1:-1])} positions of a row, the targets have "
                f"{list(classes.shape[1:])}."
            )
        return logits

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        """For each row and class how many known positions are hits, found and true, ``[n, 3, C]``; of more than
        :data:`MANY` classes all of them together, ``[n, 3, 1]``."""
        classes = self.at_positions(out, targets)
        counts = [self._counts(found, true) for found, true in zip(self._found(out, classes), classes)]
        return {"counts": torch.stack(counts) if counts else torch.zeros(0, 3, len(self.names))}

    def _found(self, out: Shown, classes: Tensor) -> Tensor:
        """``[n, *p]`` the likeliest class; of a large vocabulary never with the logits of all rows at once."""
        if len(self.names) < MANY or getattr(out, "entered", None) is None:
            return self._resized(out.logits, classes).argmax(-1)
        each = (slice(i, i + 1) for i in range(len(classes)))
        return torch.cat([self._resized(out.rows(i).logits, classes[i]).argmax(-1) for i in each])

    def _counts(self, found: Tensor, classes: Tensor) -> Tensor:
        known = classes != UNLABELLED
        found, true = found[known], classes[known]
        n = len(self.names)
        if n >= MANY:
            known_here = len(true)
            return torch.tensor(
                [[float((true == found).sum())], [known_here], [known_here]], device=true.device
            )
        hits = torch.bincount(true[found == true], minlength=n)
        return torch.stack(
            [hits, torch.bincount(found, minlength=n), torch.bincount(true, minlength=n)]
        ).float()

    def classes(self, targets: Targets) -> None:  # type: ignore[override]  # the rows have no one class
        return None

    @classmethod
    def label(cls, cell: Any) -> Any:
        """Names of the positions in their order, as a list, or as a text with spaces between them."""
        parts = cell.split() if isinstance(cell, str) else cell
        if not isinstance(parts, (list, tuple)):
            raise DataError(f"has {cell!r} where a list of class names, one a position, is needed")
        return tuple(None if part is None else str(part) for part in parts)

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return tuple(sorted({name for label in labels for name in label or () if name is not None}))

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        number = {name: c for c, name in enumerate(names)}
        unknown = {n for label in labels for n in label or () if n is not None} - set(number)
        if unknown:
            raise ClassNamesError(f"Labels are no class names: {some(sorted(unknown))}; name all classes.")
        longest = max((len(label) for label in labels if label is not None), default=0)
        values = torch.full((len(labels), longest), UNLABELLED)
        for row, label in enumerate(labels):
            if label:
                numbers = [UNLABELLED if name is None else number[name] for name in label]
                values[row, : len(label)] = torch.tensor(numbers)
        return Targets(values, torch.tensor([bool(label) for label in labels], dtype=torch.bool))


def accuracy(counts: Tensor) -> float:
    """Share of the known positions that are right, from counts ``[3, C]``; NaN where nothing is known."""
    return float(counts[HITS].sum() / counts[TRUE].sum())


def macro_f1(counts: Tensor) -> float:
    """F1 of each class that occurs or is found, their mean; NaN where classes were counted together."""
    if counts.shape[-1] == 1:
        return float("nan")
    there = (counts[TRUE] + counts[FOUND]) > 0
    return float((2 * counts[HITS] / (counts[FOUND] + counts[TRUE]))[there].mean())


def mean_iou(counts: Tensor) -> float:
    """Intersection over union of each class that occurs or is found, their mean; NaN where they were counted
    together."""
    if counts.shape[-1] == 1:
        return float("nan")
    union = counts[FOUND] + counts[TRUE] - counts[HITS]
    return float((counts[HITS] / union)[union > 0].mean())


def summed(statistics: Mapping[str, Tensor]) -> Tensor:
    """Counts ``[3, C]`` of all rows."""
    return statistics["counts"].double().sum(0)
