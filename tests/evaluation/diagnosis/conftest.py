"""A case made to order: clouds of four classes, a teacher of any accuracy, and any link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.evaluation.diagnosis.examine import Examined, examine
from limbeck.evaluation.diagnosis.reach import reach
from limbeck.evaluation.diagnosis.reasons import reasons
from limbeck.seeding import keyed_generator
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links import Bagged, ByClass, Link, Paired, Unpaired
from limbeck.students.student import Student

CLASSES, WIDTH = ("ant", "bee", "cat", "dog"), 8


@dataclass
class Case:
    """What :func:`make` made."""

    task: Task
    bank: Bank
    student: Student

    def examined(
        self, *, alone: float | None = None, own: float | None = 0.97, truth: bool = True
    ) -> Examined:
        splits, link = self.task.splits, self.task.teacher.link
        train, held_out = splits["train"], "validation" in splits
        n_bags = len(set(link.group_s.values())) if isinstance(link, Bagged) else 0
        return examine(
            self.student,
            train,
            splits["validation"] if held_out else None,
            reach(link, self.bank, train),
            truth=self.task.truth if truth else None,
            alone=alone,
            own_accuracy=own,
            n_bags=n_bags,
        )

    def reasons(self, **options: Any) -> list[str]:
        return [reason.name for reason in reasons(self.examined(**options).evidence)]


def cloud(classes: Tensor, spread: float, what: str) -> Tensor:
    """Points around the corners of a simplex."""
    noise = torch.randn(len(classes), WIDTH, generator=keyed_generator("case", what))
    return 2 * torch.eye(len(CLASSES), WIDTH)[classes] + spread * noise


def make(
    folder: Path,
    *,
    link: str = "paired",
    n: int = 400,
    labels: int = 2,
    spread: float = 0.8,
    right: float = 0.97,
    wrong: float = 0.0,
    says: Callable[[Tensor], Tensor] = lambda classes: classes,
    bag_size: int = 8,
    even: bool = False,
    n_validation: int = 200,
    sees_class: bool = True,
) -> Case:
    """
    Args:
        n: linked rows without a label.    labels: of each class.    spread: of the student's clouds.
        right: share of the teacher's answers that name the class; the others name any.
        wrong: share of the pairs or bags that are exchanged.    says: what the teacher calls each class.
        even: all bags have the same mix.    sees_class: the student's inputs hold the class.
    """
    draw = keyed_generator("case", "draws")
    n_labelled = labels * len(CLASSES)
    known = torch.arange(n_labelled) % len(CLASSES)
    free = torch.randint(len(CLASSES), (n,), generator=draw)
    if link == "bagged":
        one_class = free[::bag_size].repeat_interleave(bag_size)[:n]
        free = torch.where(torch.rand(n, generator=draw) < (0.0 if even else 0.75), one_class, free)
        free = torch.arange(n) % len(CLASSES) if even else free
    truth = torch.cat([known, free])
    shown = truth if sees_class else torch.randint(len(CLASSES), truth.shape, generator=draw)
    held_out = torch.arange(n_validation) % len(CLASSES)
    held_shown = held_out if sees_class else torch.randint(len(CLASSES), held_out.shape, generator=draw)
    labelled = torch.arange(len(truth)) < n_labelled
    train = Examples.classified(
        {"x": cloud(shown, spread, "train")},
        tuple(f"s{i}" for i in range(len(truth))),
        torch.where(labelled, truth, UNLABELLED),
        CLASSES,
    )
    roles = {"train": train}
    if n_validation:
        keys = tuple(f"v{i}" for i in range(n_validation))
        roles["validation"] = Examples.classified(
            {"x": cloud(held_shown, spread, "validation")}, keys, held_out, CLASSES
        )
    errs = torch.rand(n, generator=draw) > right
    said = says(torch.where(errs, torch.randint(len(CLASSES), (n,), generator=draw), free))
    bank = Bank.from_arrays(
        folder / "bank",
        keys=[f"t{i}" for i in range(n)],
        logits=4 * torch.eye(len(CLASSES))[said],
        class_names=CLASSES,
        overwrite=True,
    )
    samples = Examples.classified({"x": torch.zeros(n, 1)}, bank.keys, torch.full((n,), UNLABELLED), CLASSES)
    side = TeacherSide(Splits(link=samples), _link(link, n, n_labelled, bag_size, wrong))
    torch.manual_seed(0)
    student = Student(nn.Sequential(nn.Linear(WIDTH, 32), nn.Tanh(), nn.Linear(32, len(CLASSES))))
    student.probe(train.rows([0, 1]))
    return Case(Task("case", Splits(**roles), {"teacher": side}, truth=truth), bank, student)


def _link(link: str, n: int, first: int, bag_size: int, wrong: float) -> Link:
    if link in ("by_class", "unpaired"):
        return ByClass() if link == "by_class" else Unpaired()
    size = 1 if link == "paired" else bag_size
    n_groups = n // size
    moved = list(range(n_groups))
    k = round(wrong * n_groups)
    moved[:k] = moved[1:k] + moved[:1] if k > 1 else moved[:k]
    if link == "paired":
        return Paired({f"s{first + i}": f"t{moved[i]}" for i in range(n)})
    members = range(n_groups * size)
    return Bagged({f"s{first + i}": i // size for i in members}, {f"t{i}": moved[i // size] for i in members})


@pytest.fixture
def case(tmp_path: Path) -> Callable[..., Case]:
    return lambda **options: make(tmp_path, **options)


@pytest.fixture
def toy() -> ModuleType:
    import toy

    return toy
