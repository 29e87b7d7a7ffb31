"""Numbers of a bank and its link that decide nothing, and warnings that they give rise to."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.task import Task, TeacherSide
from limbeck.evaluation.diagnosis.leakage import leaks, named_in_texts
from limbeck.evaluation.diagnosis.reach import Reach
from limbeck.evaluation.diagnosis.reasons import Evidence
from limbeck.evaluation.diagnosis.student_rows import shown
from limbeck.evaluation.error_bound import Bound, bound
from limbeck.functional.relations.similarity import cka
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links.base import Draw, Link
from limbeck.students.student import Student

MOST_ROWS = 1024  # of a bank
_COMPARED = 400  # pairs, for CKA
_FEWEST = 10


def own_accuracy(task: Task, bank: Bank | None) -> float | None:
    """Of a teacher that was trained for the task on its own test rows; else of a bank on its labelled rows."""
    scores = task.info.get("teacher_accuracy")
    if scores:
        return float(scores.get("test", scores.get("validation")))
    if bank is None or bank.labels is None or not {"logits", "log_probs"} & bank.signals:
        return None
    rows = _some(torch.nonzero(bank.labels >= 0).squeeze(1))
    said = bank.take(rows.numpy(), ["logits", "log_probs"])
    assert said.labels is not None
    return float(torch.eq(said.log_predictions().argmax(1), said.labels).double().mean())


def teacher_features(bank: Bank | None) -> Tensor | None:
    """Features ``(m, D)`` of at most 1024 rows, evenly spaced; None without any."""
    if bank is None or "features" not in bank.signals:
        return None
    return bank.take(_some(torch.arange(len(bank))).numpy(), ["features"])["features"].float()


def leak_warnings(task: Task, side: TeacherSide, bank: Bank | None) -> list[str]:
    """Sentences on what leaks across splits, through keys, linked labels or texts.

    Args:
        task: as it was made, its texts not yet encoded.
    """
    labels = None
    if bank is not None and side.link.teacher_keys and not side.link.goes_by_class:
        known = bank.labels
        rows = torch.from_numpy(bank.rows_of(side.link.teacher_keys, bank.views[0]))
        labels = None if known is None else known[rows]
    found, train = leaks(task.splits, side, labels), task.splits["train"]
    for column in train.text_columns:
        texts = [value if isinstance(value, str) else " ".join(value) for value in train.all_rows()[column]]
        sentence = named_in_texts(texts, train.labels.tolist(), train.class_names)
        found += [] if sentence is None else [sentence]
    return found


def idle_facts(e: Evidence, similarity: float | None) -> dict[str, float]:
    """Name to value of what is known."""
    values = {
        "teacher_accuracy": e.own,
        "accuracy_through_link": e.through,
        "information_without_wrong_links": e.clearest if e.room.n_new else None,
        "cka": similarity,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def paired_cka(
    link: Link, bank: Bank | None, train: Examples, features: Tensor, reached: Reach
) -> float | None:
    """CKA of the features of paired rows, of a bank that holds them.

    Args:
        features: ``(n, d)`` of the reached rows, the student's.
    """
    if bank is None or reached.in_bags or len(reached.rows) < _FEWEST or "features" not in bank.signals:
        return None
    numbers = reached.rows[:_COMPARED].tolist()
    draws = [Draw("unlabelled", row, 0, slot) for slot, row in enumerate(numbers)]
    unknown = torch.full((len(numbers),), UNLABELLED)
    found = link.rows(
        bank, [train.keys[row] for row in numbers], unknown, draws, seed=0, signals=("features",)
    )
    rows, said = found.paired()
    return float(cka(features[rows], said["features"].float())) if len(rows) >= _FEWEST else None


def student_bound(student: Student | None, validation: Examples | None, bank: Bank | None) -> Bound | None:
    """UCMKD's bound for a student as it stands, on held-out rows; None unless both sides have labels and features of
    one width, and the teacher's head is known."""
    if student is None or validation is None or bank is None or bank.labels is None or bank.head is None:
        return None
    rows = _some(torch.nonzero(bank.labels >= 0).squeeze(1))
    ours = shown(student, validation)
    if not len(rows) or bank.width("features") != ours.features.shape[1]:
        return None
    theirs = bank.take(rows.numpy(), ["features"])
    assert theirs.labels is not None
    return bound(
        ours.features, ours.logits, validation.labels, theirs["features"].float(), theirs.labels, bank.head
    )


def _some(rows: Tensor) -> Tensor:
    return rows[:: max(1, -(-len(rows) // MOST_ROWS))]
