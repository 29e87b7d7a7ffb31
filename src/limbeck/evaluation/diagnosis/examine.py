"""From what student and teacher show of their rows to all parts of a diagnosis but the recipe's.

Axis legend: N training rows, l labelled, n linked, j judges (held-out labelled rows), d features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.evaluation.diagnosis.exchanged import exchanged_classes, one_hot_where_known
from limbeck.evaluation.diagnosis.expectation import FEWEST_JUDGES, Room, expectation
from limbeck.evaluation.diagnosis.link_information import (
    accuracy_through_link,
    information,
    link_information,
)
from limbeck.evaluation.diagnosis.pilot import Pilot, Rows, crossed_pilot, label_doubling, pilot, probe
from limbeck.evaluation.diagnosis.reach import Reach
from limbeck.evaluation.diagnosis.reasons import Evidence
from limbeck.evaluation.diagnosis.ridge import standardised
from limbeck.evaluation.diagnosis.signal_facts import prediction_facts
from limbeck.evaluation.diagnosis.student_rows import shown
from limbeck.evaluation.diagnosis.wrong_links import wrong_share
from limbeck.signals.classes import UNLABELLED
from limbeck.students.student import Student

MOST_ROWS = 2048  # labelled rows, and judges
FROM_TRUTH = 50  # linked rows whose class is looked up where a benchmark knows it
MOST_COLUMNS = 1024  # of features, which more of are projected to: a ridge costs d^3
FEWEST_LABELS = 8  # of which a half still tells something
CROSSED = 20  # the student's own labels, from which on a pilot is judged on them for want of others


@dataclass(frozen=True)
class Examined:
    """What was found.

    Args:
        alone_from: where the accuracy without a teacher is from.
        features: ``[n, d]`` of the linked rows as the student shows them; of labelled ones where none is linked.
    """

    evidence: Evidence
    alone_from: str
    features: Tensor


@dataclass(frozen=True)
class Alone:
    """A student that was trained without a teacher: its validation accuracy, and itself as a judge of the link."""

    accuracy: float
    student: Student


def examine(
    student: Student,
    train: Examples,
    validation: Examples | None,
    reached: Reach,
    *,
    truth: Tensor | None = None,
    alone: Alone | float | None = None,
    own_accuracy: float | None = None,
    n_bags: int = 0,
) -> Examined:
    """Everything that decides, measured.

    Args:
        student: as it stands before training.    validation: held-out rows that judge the pilot.
        truth: ``(N,)`` classes where a benchmark knows them: of 50 linked rows they are looked up.
        alone: the student trained on its labels alone, or its accuracy; None = a probe on the untrained student's
            features stands in.
        own_accuracy: the teacher's on held-out rows of its own.    n_bags: of the whole link.
    """
    rows, judges, features = _rows(student, train, validation, reached)
    n_labelled = int(train.targets.known.sum())
    trial = _pilot(rows, judges)
    accuracy, source = _alone(alone, trial, n_labelled, len(train.class_names))
    room = Room(accuracy, n_labelled, reached.n_new, reached.in_bags, n_bags)
    classes = known_classes(train, reached, truth)
    is_known = classes != UNLABELLED
    link = link_information(reached.log_probs, reached.log_probs[is_known], classes[is_known])
    clearest = information(reached.log_probs.exp())
    is_silent = bool(reached.n_new) and not len(reached.rows)
    expected = expectation(room, link, None if is_silent else trial, clearest=1.0 if is_silent else clearest)
    found = Evidence(
        class_names=train.class_names,
        room=room,
        expectation=expected,
        link=link,
        pilot=trial,
        own=own_accuracy,
        clearest=clearest,
        n_judges=len(judges[1]) if judges else 0,
        has_predictions=not is_silent,
        doubling=label_doubling(rows, *judges) if judges and len(rows.labels) >= FEWEST_LABELS else None,
    )
    judge = _judge(alone, rows, train, reached)
    return Examined(_of_the_link(found, train, reached, judge), source, features)


def known_classes(train: Examples, reached: Reach, truth: Tensor | None) -> Tensor:
    """``(n,)`` class of the linked rows that have a label, or whose truth is looked up; -100 = unknown."""
    classes = train.labels[reached.rows].clone()
    if truth is not None:
        hidden = torch.nonzero((classes == UNLABELLED) & (truth[reached.rows] != UNLABELLED)).squeeze(1)
        chosen = hidden[torch.linspace(0, len(hidden) - 1, min(FROM_TRUTH, len(hidden))).round().long()]
        classes[chosen] = truth[reached.rows[chosen]]
    return classes


def _rows(
    student: Student, train: Examples, validation: Examples | None, reached: Reach
) -> tuple[Rows, tuple[Tensor, Tensor] | None, Tensor]:
    """What the pilot reads, its judges' features and classes (None without any), all standardised alike, and the
    features of the linked rows as they were."""
    labelled = _spaced(torch.nonzero(train.labels >= 0).squeeze(1))
    shown_rows = torch.cat([labelled, reached.rows])
    if not len(shown_rows):
        shown_rows = torch.arange(min(len(train), 2))
    features = shown(student, train, shown_rows).features
    held_out = torch.zeros(0, dtype=torch.long)
    if validation is not None:
        held_out = _spaced(torch.nonzero(validation.labels >= 0).squeeze(1))
    judged = (
        shown(student, validation, held_out).features if validation is not None and len(held_out) else None
    )
    parts = standardised(*(_narrowed(part) for part in (features, judged) if part is not None))
    n = len(labelled)
    rows = Rows(parts[0][:n], train.labels[labelled], parts[0][n:], reached.probs.double(), reached.group)
    if judged is None or validation is None:
        return rows, None, features[n:] if len(reached.rows) else features
    return rows, (parts[1], validation.labels[held_out]), features[n:] if len(reached.rows) else features


def _narrowed(features: Tensor) -> Tensor:
    """With at most 1024 columns: more are projected at random, which keeps distances."""
    d = features.shape[1]
    if d <= MOST_COLUMNS:
        return features
    directions = torch.randn(d, MOST_COLUMNS, generator=torch.Generator().manual_seed(0))
    return features @ directions / MOST_COLUMNS**0.5


def _pilot(rows: Rows, judges: tuple[Tensor, Tensor] | None) -> Pilot | None:
    """None where nothing is linked or nobody can judge."""
    if not len(rows.features):
        if judges is None or not len(rows.labels):
            return None
        right = float((probe(rows)(judges[0]).argmax(1) == judges[1]).double().mean())
        return Pilot(0.0, 0.0, 0.0, right, right, len(judges[1]))
    if judges is not None and len(judges[1]) >= min(FEWEST_JUDGES, max(len(rows.labels), 1)):
        return pilot(rows, *judges)
    if len(rows.labels) >= CROSSED and len(rows.labels.unique()) > 1:
        return crossed_pilot(rows)
    return None if judges is None else pilot(rows, *judges)


def _alone(
    alone: Alone | float | None, trial: Pilot | None, n_labelled: int, n_classes: int
) -> tuple[float, str]:
    if not n_labelled:
        return 1 / n_classes, "chance, as there are no labels"
    if isinstance(alone, Alone):
        return alone.accuracy, "a training without a teacher"
    if alone is not None:
        return alone, "as given"
    if trial is None:
        return 1 / n_classes, "chance, as no labelled row is held out to judge"
    return trial.alone, "a probe on the untrained student's features, often far below a trained student"


def _judge(alone: Alone | float | None, rows: Rows, train: Examples, reached: Reach) -> Tensor | None:
    """``(n, C)`` predictions of the linked rows by what labels alone teach, certain where the class is known."""
    if not len(reached.rows) or len(rows.labels.unique()) < 2:
        return None
    if isinstance(alone, Alone):
        found = shown(alone.student, train, reached.rows).logits.double().softmax(1)
    else:
        scores = probe(rows)(rows.features)
        scores = scores - scores.mean(0)
        found = (2 * scores / scores.std().clamp(min=1e-9)).softmax(1)
    return one_hot_where_known(found, train.labels[reached.rows])


def _of_the_link(found: Evidence, train: Examples, reached: Reach, judge: Tensor | None) -> Evidence:
    """With what is seen of the link itself: accuracy through it, wrong pairs or bags, one class, exchanged ones."""
    if not len(reached.rows):
        return found
    said = prediction_facts(reached.said)
    counts = torch.bincount(train.labels[train.labels >= 0], minlength=len(train.class_names)).double()
    found = replace(
        found,
        commonest=said.commonest,
        confidence=said.confidence,
        usual=float(counts.max() / counts.sum().clamp(min=1)),
        through=None if found.link is None else found.link.accuracy,
        expected=float(reached.probs.max(1).values.mean()) if reached.in_bags else None,
    )
    if judge is None:
        return found
    if found.through is None and not reached.in_bags:
        agreement = float((judge.argmax(1) == reached.log_probs.argmax(1)).double().mean())
        through = accuracy_through_link(agreement, found.room.alone, len(train.class_names))
        found = replace(found, through=through)
    group = torch.arange(len(reached.rows)) if reached.group is None else reached.group
    return replace(
        found,
        wrong=wrong_share(judge, group, reached.probs),
        exchanged=exchanged_classes(judge, reached.log_probs.exp()),
    )


def _spaced(rows: Tensor) -> Tensor:
    return rows[:: max(1, -(-len(rows) // MOST_ROWS))]
