"""Tasks on things that have both a text and a picture: the student reads the text, the teacher sees the picture.

The training things are cut into two halves once and for all. Half A gives the student its texts, and their
pictures are what the bank is asked about; half B gives the teacher its labelled pictures. So the teacher has seen
none of the things that it speaks about, and what it says of them is what it would say of new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples, Inputs, View, texts
from limbeck.data.files.views import GridView
from limbeck.data.splits import Splits
from limbeck.data.task import TEACHER, Task, TeacherSide
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links.paired import Paired
from limbeck.signals.links.unpaired import Unpaired

Pairs = Literal["all", "labelled", "none"]
ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageTexts:
    """N things with a text, a picture and a class each.

    Args:
        keys: N unique names.    texts: N texts, none empty.    classes: N class names.
        pictures: ``[N, c, h, w]`` float32, of any scale: the task standardises them.
        roles: N of ``train``, ``validation`` and ``test``.
    """

    keys: Sequence[str]
    texts: Sequence[str]
    classes: Sequence[str]
    pictures: Tensor
    roles: Sequence[str]


def image_text_task(
    name: str,
    things: ImageTexts,
    *,
    labels_per_class: int | None,
    pairs: Pairs,
    seed: int,
    info: dict[str, Any],
) -> Task:
    """The task of teaching a reader of texts by a teacher that sees the pictures.

    Args:
        name: of the task, for errors and reports.
        labels_per_class: labelled texts of each class in half A, drawn by ``seed``; a class with fewer gives all
            it has. None: all of half A.
        pairs: ``all``: every text of half A has its picture in the link. ``labelled``: texts without a label are
            left out, so that the student has its few labelled texts and their pictures, nothing else. ``none``:
            nothing is linked; the pictures of half A stay in ``link``, with labels, as rows of their own.
        info: facts for the report, to which the counts are added.

    Returns: a task with texts in ``splits`` (column ``text``) and the teacher's pictures (column ``x``):
        ``train`` = half B, ``link`` = half A, ``validation`` and ``test`` = those of the texts. Linked pictures
        carry no labels, since these would be the student's. Pixels are standardised by the mean and deviation of
        half B. Keys are ``text/KEY`` and ``image/KEY``.

    Raises: ConfigError and UnknownNameError for wrong settings; DataError for a task with one class.
    """
    _check(name, things, labels_per_class, pairs)
    class_names = tuple(sorted(set(things.classes)))
    labels = np.searchsorted(class_names, things.classes).astype(np.int64)
    roles = np.asarray(things.roles)
    rows = {role: np.flatnonzero(roles == role) for role in ROLES}
    half_a, half_b = halves(rows["train"], labels, things.keys)
    labelled = _labelled(
        half_a, labels, labels_per_class, np.random.default_rng(keyed_seed(name, "labels", seed))
    )
    if pairs == "labelled":
        half_a, labelled = half_a[labelled], labelled[labelled]
    truth = torch.from_numpy(labels[half_a])
    shown = torch.where(torch.from_numpy(labelled), truth, UNLABELLED)
    linked = truth if pairs == "none" else torch.full_like(truth, UNLABELLED)

    text = texts(things.texts)
    pixels = things.pictures[half_b]
    pictures = (things.pictures - pixels.mean()) / pixels.std()

    def student(index: np.ndarray, known: Tensor | None = None) -> Examples:
        keys = tuple(f"text/{things.keys[row]}" for row in index)
        known = torch.from_numpy(labels[index]) if known is None else known
        return Examples.classified({"text": text[index]}, keys, known, class_names)

    def teacher(index: np.ndarray, known: Tensor | None = None) -> Examples:
        keys = tuple(f"image/{things.keys[row]}" for row in index)
        known = torch.from_numpy(labels[index]) if known is None else known
        return Examples.classified({"x": pictures[index]}, keys, known, class_names)

    held_out = {role: rows[role] for role in ("validation", "test")}
    train, link = student(half_a, shown), teacher(half_a, linked)
    return Task(
        name=name,
        splits=Splits(train=train, **{role: student(index) for role, index in held_out.items()}),
        teachers={
            TEACHER: TeacherSide(
                Splits(
                    train=teacher(half_b),
                    link=link,
                    **{role: teacher(index) for role, index in held_out.items()},
                ),
                Unpaired() if pairs == "none" else Paired(dict(zip(train.keys, link.keys))),
                picture_views(),
            )
        },
        truth=truth,
        preprocessor={"kind": "text", "columns": ["text"]},
        info={
            **info,
            "labels_per_class": labels_per_class,
            "pairs": pairs,
            "n_labelled": int(labelled.sum()),
            "n_unlabelled": int((~labelled).sum()),
            "n_teacher": len(half_b),
            "picture_shape": list(things.pictures.shape[1:]),
            **repeated_texts(things, labels, rows),
            "seed": seed,
        },
    )


def halves(rows: np.ndarray, labels: np.ndarray, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The rows cut into two halves of like class counts, sorted; the cut depends on nothing but classes and keys.

    Rows of a class are put in the order of a hash of their keys and dealt out in turn, on from class to class, so
    that half A has one row more at most.
    """
    order = sorted(rows.tolist(), key=lambda row: (labels[row], keyed_seed("halves", keys[row])))
    return np.array(sorted(order[::2]), dtype=np.int64), np.array(sorted(order[1::2]), dtype=np.int64)


@dataclass(frozen=True)
class Mirrored:
    """A view of pictures that first exchanges left and right, and up and down, each for every second row.

    Call: as ``view``, with tensors ``[n, c, h, w]``.
    """

    view: View

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        draws = torch.stack([torch.rand(2, generator=generator) for generator in generators]) < 0.5
        mirrored = {}
        for name, x in inputs.items():
            left_right, up_down = draws.to(x.device).view(-1, 2, 1, 1, 1).unbind(1)
            x = torch.where(left_right, x.flip(3), x)
            mirrored[name] = torch.where(up_down, x.flip(2), x)
        return self.view(mirrored, generators)


def picture_views() -> dict[str, View]:
    """Views of standardised pictures ``[n, c, h, w]`` for the teacher, none of which changes a class: a mirrored
    drawing has the same holes, parts, symmetries, ink and colours. No masks, which tear holes and cut parts."""
    return {
        "weak": Mirrored(GridView(shift=(2, 2), noise=0.1)),
        "strong": Mirrored(GridView(shift=(3, 3), noise=0.3)),
    }


def repeated_texts(things: ImageTexts, labels: np.ndarray, rows: dict[str, np.ndarray]) -> dict[str, int]:
    """Test rows whose text is also a training row's, and texts that stand for more than one class."""
    classes_of: dict[str, set[int]] = {}
    for text, label in zip(things.texts, labels.tolist()):
        classes_of.setdefault(text, set()).add(label)
    trained = {things.texts[row] for row in rows["train"]}
    return {
        "n_test_texts_in_train": sum(things.texts[row] in trained for row in rows["test"]),
        "n_texts_of_several_classes": sum(len(classes) > 1 for classes in classes_of.values()),
    }


def _check(name: str, things: ImageTexts, labels_per_class: int | None, pairs: str) -> None:
    if pairs not in get_args(Pairs):
        raise UnknownNameError(f"{name} has no pairs={pairs!r}; {nearest(pairs, get_args(Pairs))}")
    if labels_per_class is not None and labels_per_class < 1:
        raise ConfigError(f"labels_per_class={labels_per_class} must be at least 1, or null for all labels.")
    if len(set(things.classes)) < 2:
        raise DataError(
            f"{name} has the one class {things.classes[0]!r}, so there is nothing to learn; choose another task."
        )
    for role in ROLES:
        if role not in things.roles:
            raise DataError(f"{name} has no rows for {role}; give it some.")


def _labelled(
    rows: np.ndarray, labels: np.ndarray, labels_per_class: int | None, rng: np.random.Generator
) -> np.ndarray:
    """Which of ``rows`` keep their labels, bool."""
    if labels_per_class is None:
        return np.ones(len(rows), dtype=bool)
    kept = [
        rng.permutation(np.flatnonzero(labels[rows] == c))[:labels_per_class] for c in np.unique(labels[rows])
    ]
    return np.isin(np.arange(len(rows)), np.concatenate(kept))
