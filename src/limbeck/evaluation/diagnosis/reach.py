"""What of a teacher reaches which of the student's training rows, as the link says.

Axis legend: N training rows, n rows that are reached, C classes, g bags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.data.base import Examples, Inputs
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links.base import Draw, Link, Source
from limbeck.signals.output import TeacherOutput
from limbeck.signals.teacher_rows import TeacherRows

PREDICTIONS = ("logits", "log_probs")
MOST_ROWS = 4096  # that are looked at; counts are of all
BATCH = 256

# A live teacher: inputs to what it says.
Ask = Callable[[Inputs], TeacherOutput]


@dataclass(frozen=True)
class Reach:
    """Rows that a teacher row or bag belongs to.

    Args:
        rows: ``(n,)`` numbers of training rows, at most 4096 of them.    is_new: ``(n,)`` bool, without a label.
        log_probs: ``(n, C)`` what reaches each row: of its partner, or the log of its bag's mean.
        group: ``(n,)`` bag of each row in [0, g); None for pairs.    bags: ``(g, C)`` mean probabilities of each bag.
        said: ``(m, C)`` log-probabilities of the teacher rows themselves.
        n_new: number of all rows without a label that are reached.
    """

    rows: Tensor
    is_new: Tensor
    log_probs: Tensor
    group: Tensor | None
    bags: Tensor
    said: Tensor
    n_new: int

    @property
    def in_bags(self) -> bool:
        return self.group is not None

    @property
    def probs(self) -> Tensor:
        """``(n, C)``, or of bags ``(g, C)``."""
        return self.log_probs.exp() if self.group is None else self.bags


def reach(
    link: Link, source: Source, examples: Examples, *, ask: Ask | None = None, sees_student: bool = False
) -> Reach:
    """What reaches the training rows.

    Args:
        ask: the live teacher behind ``source``; None for a bank, whose predictions are read.
        sees_student: it is asked about the student's own inputs, so that every row is reached.
    """
    known, n_classes = examples.targets.known, len(examples.class_names)
    if sees_student:
        rows, n_second = _sampled(torch.arange(len(examples))), int((~known).sum())
    elif link.goes_by_class:
        return nothing_reached(n_classes)
    else:
        rows, n_second = _candidates(link, examples)
    if not len(rows):
        return nothing_reached(n_classes)
    answers = _answers(link, source, examples, rows, ask, sees_student)
    is_new = ~known[rows]
    here = answers.is_paired | (answers.group_s >= 0)
    share = float((here & is_new).sum()) / max(int(is_new.sum()), 1)
    kept, said = torch.nonzero(here).squeeze(1), answers.said.log_predictions()
    if not len(kept):
        return nothing_reached(n_classes)
    found = Reach(rows[kept], is_new[kept], said, None, said[:0].exp(), said, round(share * n_second))
    if bool((answers.group_s >= 0).any()):
        names, group = answers.group_s[kept].unique(return_inverse=True)
        bags = torch.stack([said[answers.group_t == name].exp().mean(0) for name in names])
        return replace(found, log_probs=bags.clamp(min=1e-9).log()[group], group=group, bags=bags)
    return replace(found, log_probs=said[answers.pair_index[kept]])


def _candidates(link: Link, examples: Examples) -> tuple[Tensor, int]:
    """Rows that may be reached, and how many rows without a label there are among all such."""
    known = examples.targets.known
    second = link.second_stream(examples.keys, known)
    if isinstance(second, Tensor):
        free = _sampled(second)
        labelled = torch.nonzero(known).squeeze(1)[:MOST_ROWS]
        return torch.cat([labelled, free]), len(second)
    n_second = sum(int((~known[torch.tensor(bag)]).sum()) for bag in second)
    step = max(1, -(-sum(map(len, second)) // MOST_ROWS))
    return torch.tensor([row for bag in second[::step] for row in bag], dtype=torch.long), n_second


def _sampled(rows: Tensor) -> Tensor:
    return rows[:: max(1, -(-len(rows) // MOST_ROWS))]


def _answers(
    link: Link, source: Source, examples: Examples, rows: Tensor, ask: Ask | None, sees_student: bool
) -> TeacherRows:
    n = len(rows)
    if sees_student:
        assert ask is not None
        return TeacherRows.of(_asked(ask, examples, rows), pair_index=torch.arange(n), n=n)
    draws = [Draw("unlabelled", row, 0, slot) for slot, row in enumerate(rows.tolist())]
    keys = [examples.keys[row] for row in rows.tolist()]
    unknown = torch.full((n,), UNLABELLED)
    found = link.rows(source, keys, unknown, draws, seed=0, signals=PREDICTIONS)
    if ask is None:
        return found
    samples = found.said.inputs or {}
    parts = [
        ask({name: value[start : start + BATCH] for name, value in samples.items()})
        for start in range(0, len(found.said), BATCH)
    ]
    return replace(found, said=_joined(parts))


def _asked(ask: Ask, examples: Examples, rows: Tensor) -> TeacherOutput:
    return _joined([ask(examples.rows(rows[start : start + BATCH])) for start in range(0, len(rows), BATCH)])


def _joined(parts: list[TeacherOutput]) -> TeacherOutput:
    return TeacherOutput(log_probs=torch.cat([part.log_predictions().cpu() for part in parts]))


def nothing_reached(n_classes: int, n_new: int = 0) -> Reach:
    """Of a link by class or none; with ``n_new`` rows of a teacher that says no classes."""
    none, empty = torch.zeros(0, dtype=torch.long), torch.zeros(0, n_classes)
    return Reach(none, none.bool(), empty, None, empty, empty, n_new)


def silently_reached(link: Link, examples: Examples) -> Reach:
    """By a teacher that says no classes: only how many rows."""
    known = examples.targets.known
    if not link.teacher_keys or link.goes_by_class:
        return nothing_reached(len(examples.class_names))
    found = link.second_stream(examples.keys, known)
    rows = found if isinstance(found, Tensor) else torch.tensor([row for bag in found for row in bag])
    return nothing_reached(len(examples.class_names), int((~known[rows]).sum()))
