"""A tiny two-modality task that is learned in seconds: blobs seen by a teacher, other blobs by a student."""

from __future__ import annotations

import torch

from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.signals.links import Bagged, Link, Paired
from limbeck.signals.links.choose import link_named

CLASS_NAMES = ("circle", "square", "star")


def blobs(n: int, width: int, prefix: str, seed: int, spread: float) -> Examples:
    """``n`` rows a class around random centres that depend on the width alone."""
    centres = torch.randn(len(CLASS_NAMES), width, generator=torch.Generator().manual_seed(width))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(CLASS_NAMES)).repeat(n)
    x = centres[labels] + spread * torch.randn(len(labels), width, generator=generator)
    keys = tuple(f"{prefix}/{seed}/{i}" for i in range(len(labels)))
    return Examples.classified({"x": x}, keys, labels, CLASS_NAMES)


def tiny_task(link: str = "paired", *, labelled: int = 6, seed: int = 0) -> Task:
    """A task whose student sees 6 noisy numbers and whose teacher sees 4 clean ones."""
    train, teacher = blobs(20, 6, "s", 1 + seed, 0.8), blobs(20, 4, "t", 2, 0.3)
    truth = train.labels.clone()
    labels = train.labels.clone()
    labels[labelled:] = -100
    train = Examples.classified(train.inputs, train.keys, labels, CLASS_NAMES)
    unlabelled = range(labelled, len(train))
    if link == "paired":
        linked: Link = Paired({train.keys[i]: teacher.keys[i] for i in unlabelled})
    elif link == "bagged":
        bag = {i: (i - labelled) // 9 for i in unlabelled}
        linked = Bagged(
            {train.keys[i]: b for i, b in bag.items()}, {teacher.keys[i]: b for i, b in bag.items()}
        )
    else:
        linked = link_named(link)
    return Task(
        name="blobs",
        splits=Splits(train=train, validation=blobs(10, 6, "s", 51, 0.8), test=blobs(40, 6, "s", 52, 0.8)),
        teachers={
            "teacher": TeacherSide(
                Splits(
                    train=blobs(30, 4, "t", 53, 0.3),
                    validation=blobs(10, 4, "t", 54, 0.3),
                    test=blobs(10, 4, "t", 55, 0.3),
                    link=teacher,
                ),
                linked,
            )
        },
        truth=truth,
    )
