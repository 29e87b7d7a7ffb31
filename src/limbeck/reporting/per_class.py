"""What a comparison says of single classes: who is confused with whom, and how sure the students were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from limbeck.evaluation.comparison import Cell, Comparison
from limbeck.evaluation.outcome import problem_of
from limbeck.evaluation.results import NO_CONTROL

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from limbeck.problems.base import Problem


class Confusions(NamedTuple):
    """Counts of true class (down) by found class, all seeds together.

    Args:
        counts: arm to ``[C, C]``.    names: of the classes.    absent: classes without a test row.
    """

    counts: dict[str, np.ndarray]
    names: tuple[str, ...]
    absent: tuple[str, ...]

    def recall(self, arm: str) -> np.ndarray:
        """``[C]`` share of each class that was found, NaN where there is no row."""
        return self.shares(arm).diagonal()

    def shares(self, arm: str) -> np.ndarray:
        """``[C, C]``, rows that sum to 1."""
        import numpy as np

        counts = self.counts[arm].astype(float)
        total = counts.sum(1, keepdims=True)
        return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def _scored(
    found: Comparison, split: str, arms: Sequence[str]
) -> Iterator[tuple[Cell, Problem, Mapping[str, Tensor]]]:
    """The finished runs of these arms without a control, with what their problem kept of each row of a split."""
    for cell in found.done:
        outcome = found.outcomes[cell]
        problem = problem_of(outcome)
        is_asked = cell.control == NO_CONTROL and cell.arm in arms
        if is_asked and problem is not None and split in outcome.items:
            yield cell, problem, outcome.items[split]


def confusions(found: Comparison, split: str, arms: Sequence[str]) -> Confusions | None:
    """Of the arms without a control; None for a problem without classes."""
    counts: dict[str, np.ndarray] = {}
    names: tuple[str, ...] = ()
    for cell, problem, kept in _scored(found, split, arms):
        table = problem.confusion(kept)
        if table is None:
            return None
        counts[cell.arm] = counts.get(cell.arm, 0) + table.numpy()
        names = problem.names
    if not counts:
        return None
    rows = next(iter(counts.values())).sum(1)
    return Confusions(counts, names, tuple(name for name, n in zip(names, rows, strict=True) if not n))


def confidences(
    found: Comparison, split: str, arms: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Arm to how sure it was of each answer and whether that was right, all seeds together."""
    import numpy as np

    shown: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for cell, problem, kept in _scored(found, split, arms):
        pair = problem.confidences(kept)
        if pair is not None:
            shown.setdefault(cell.arm, []).append((pair[0].numpy(), pair[1].numpy()))
    return {
        arm: (np.concatenate([sure for sure, _ in parts]), np.concatenate([right for _, right in parts]))
        for arm, parts in shown.items()
    }
