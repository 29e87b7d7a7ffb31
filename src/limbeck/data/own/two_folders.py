"""A task from two data sets of a user's own: the student's modality, the teacher's, and what links them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples, View
from limbeck.data.files.views import audio_views, image_views, vector_views
from limbeck.data.own.folders import FolderData, Modality, folder
from limbeck.data.splits import Splits
from limbeck.data.task import TEACHER, Task, TeacherSide
from limbeck.errors import ConfigError, DataError, LinkError, UnknownNameError, nearest, some
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key
from limbeck.signals.links.bagged import Bagged
from limbeck.signals.links.base import Link
from limbeck.signals.links.choose import LINKS, link_named
from limbeck.signals.links.paired import Paired, PartlyPaired

VIEWS: dict[str, Callable[[], dict[str, View]]] = {
    "image": image_views,
    "audio": audio_views,
    "table": vector_views,
}
Source = str | Path | FolderData
LinkName = Literal["paired", "partly_paired", "bagged", "by_class", "unpaired"]


@dataclass(frozen=True)
class _Choice:
    """How the student's rows are cut, as asked for."""

    labels_per_class: int | None
    validation_share: float
    test_share: float
    allow_missing_classes: bool


def two_folders(
    *,
    student: Source,
    teacher: Source,
    student_modality: Modality = "audio",
    teacher_modality: Modality = "image",
    student_options: Mapping[str, Any] | None = None,
    teacher_options: Mapping[str, Any] | None = None,
    link: LinkName = "by_class",
    labels_per_class: int | None = None,
    validation_share: float = 0.15,
    test_share: float = 0.2,
    link_share: float = 0.3,
    allow_missing_classes: bool = False,
    seed: int = 0,
) -> Task:
    """The task of teaching one folder's modality by a teacher of another's.

    Args:
        student, teacher: paths for :func:`~limbeck.data.own.folders.folder`, or what it returned.
        student_modality, teacher_modality: of paths.
        student_options, teacher_options: further arguments of ``folder`` for the paths, such as
            ``{"on_error": "skip", "resample": True}``.
        link: ``paired``: equal keys belong together (``partly_paired`` when some student rows have no partner).
            ``bagged``: rows of an equal group belong together; both CSVs need a group column, and a group stays in
            one split. ``by_class`` and ``unpaired``: the teacher speaks about a share of its rows of its own.
        labels_per_class: keep so many labels of each class, drawn by ``seed``; all by default.
        validation_share, test_share: of the labelled student rows, by class (by group when bagged), and of the
            teacher's own rows; not where a folder holds ``val`` or ``test``, which are then these.
        link_share: of the teacher's rows for ``by_class`` and ``unpaired``; linked rows never train the teacher.
        allow_missing_classes: a class without a labelled row is an error unless this is set.
        seed: of all splits and draws.

    Returns: a task with ``train``, ``validation`` and ``test``, and, where the teacher has labelled rows beside the
        linked ones, those splits for it. The linked rows of pairs and bags carry no labels. Tables are standardised
        by the mean and deviation of their training rows.

    Raises: DataError, LinkError, ConfigError: one sentence with the mend.
    """
    _check(link, labels_per_class, validation_share, test_share, link_share)
    read_s = _read(student, student_modality, student_options, "student")
    read_t = _read(teacher, teacher_modality, teacher_options, "teacher")
    choice = _Choice(labels_per_class, validation_share, test_share, allow_missing_classes)
    rng = np.random.default_rng(keyed_seed("two_folders", seed))
    splits, truth = _student_splits(read_s, choice, link, rng)
    linked, rows = _link(link, splits["train"], read_s, read_t, link_share, rng)
    teacher_splits = _teacher_splits(read_t, rows, choice, rng, has_labels=link in ("by_class", "unpaired"))
    preprocessor, preprocessor_t = dict(read_s.preprocessor), dict(read_t.preprocessor)
    if read_s.modality == "table":
        splits, mean, deviation = _standardised(splits, "train")
        preprocessor |= {"mean": mean.tolist(), "deviation": deviation.tolist()}
    if read_t.modality == "table":
        by = "train" if "train" in teacher_splits else "link"
        teacher_splits, mean, deviation = _standardised(teacher_splits, by)
        preprocessor_t |= {"mean": mean.tolist(), "deviation": deviation.tolist()}
    views_t = VIEWS[read_t.modality]()
    return Task(
        name="two_folders",
        splits=Splits(**splits),
        teachers={TEACHER: TeacherSide(Splits(**teacher_splits), linked, views_t, preprocessor_t)},
        views=VIEWS[read_s.modality](),
        truth=truth,
        preprocessor=preprocessor,
        info={
            "student": read_s.report,
            "teacher": read_t.report,
            "link": linked.name,
            "n_labelled": int((splits["train"].labels != UNLABELLED).sum()),
            "n_unlabelled": int((splits["train"].labels == UNLABELLED).sum()),
            "n_bags": len(set(linked.group_s.values())) if isinstance(linked, Bagged) else 0,
            "seed": seed,
        },
    )


def _check(link: str, labels_per_class: int | None, *shares: float) -> None:
    if link not in LINKS:
        raise UnknownNameError(f"There is no link {link!r}; {nearest(link, LINKS)}")
    if any(not 0 < share < 1 for share in shares) or shares[0] + shares[1] >= 1:
        raise ConfigError(
            "validation_share, test_share and link_share must lie between 0 and 1, and the first two leave training "
            f"rows; they are {shares[0]}, {shares[1]} and {shares[2]}."
        )
    if labels_per_class is not None and labels_per_class < 1:
        raise ConfigError(f"labels_per_class={labels_per_class} must be at least 1, or null for all labels.")


def _read(source: Source, modality: Modality, options: Mapping[str, Any] | None, side: str) -> FolderData:
    if isinstance(source, FolderData):
        return source
    try:
        return folder(source, modality, **dict(options or {}))
    except TypeError as error:
        raise ConfigError(f"{side}_options holds a setting that does not exist or fit: {error}.") from error


# -- splits ----------------------------------------------------------------------------------------------------


def _student_splits(
    data: FolderData, choice: _Choice, link: str, rng: np.random.Generator
) -> tuple[dict[str, Examples], Tensor]:
    """``train``, ``validation`` and ``test``, and the true classes of the training rows."""
    examples = data.examples
    labels = examples.labels.numpy()
    held_out = _held_out_groups if link == "bagged" else _held_out_rows
    parts = _held_out(data, choice, rng, held_out)
    train_rows = np.setdiff1d(np.arange(len(examples)), np.concatenate(list(parts.values())))
    if not len(train_rows):
        raise DataError("Validation and test take all student rows or groups; give more, or smaller shares.")
    train = examples.subset(train_rows)
    truth = train.labels.clone()
    labelled = _labelled(train, choice, rng)
    splits = {"train": train.forgotten(~labelled)}
    for role, rows in parts.items():
        if not (labels[rows] != UNLABELLED).any():
            raise DataError(
                f"No labelled row is left for {role}; give more labelled rows or raise {role}_share."
            )
        splits[role] = examples.subset(rows[labels[rows] != UNLABELLED])
    return splits, truth


def _held_out(
    data: FolderData,
    choice: _Choice,
    rng: np.random.Generator,
    cut: Callable[[FolderData, _Choice, np.random.Generator], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Rows of validation and test: those that lie in folders of these names, else shares of the others by ``cut``."""
    given = {role: np.flatnonzero(_roles(data) == role) for role in ("validation", "test")}
    free = np.setdiff1d(np.arange(len(data.examples)), np.concatenate(list(given.values())))
    if all(len(rows) for rows in given.values()):
        return given
    drawn = cut(replace(data, examples=data.examples.subset(free)), choice, rng)
    return {role: rows if len(rows) else free[drawn[role]] for role, rows in given.items()}


def _roles(data: FolderData) -> np.ndarray:
    """Of each row the split that it lies in, empty where that is free."""
    return np.array([data.roles.get(key, "") for key in data.examples.keys], dtype=object)


def _held_out_rows(data: FolderData, choice: _Choice, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of validation and test: the same share of every class."""
    labels = data.examples.labels.numpy()
    parts: dict[str, list[int]] = {"validation": [], "test": []}
    for c in range(len(data.examples.class_names)):
        rows = rng.permutation(np.flatnonzero(labels == c))
        n_validation, n_test = (
            round(share * len(rows)) for share in (choice.validation_share, choice.test_share)
        )
        parts["validation"] += rows[:n_validation].tolist()
        parts["test"] += rows[n_validation : n_validation + n_test].tolist()
    return {role: np.array(sorted(rows), dtype=np.int64) for role, rows in parts.items()}


def _held_out_groups(data: FolderData, choice: _Choice, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of validation and test: whole groups, so that no session is both trained and tested on."""
    keys = data.examples.keys
    of_row = np.array([data.groups.get(key, f"\0{key}") for key in keys])  # a row without a group is its own
    groups = rng.permutation(np.unique(of_row))
    n_validation, n_test = (
        max(1, round(share * len(groups))) for share in (choice.validation_share, choice.test_share)
    )
    return {
        "validation": np.flatnonzero(np.isin(of_row, groups[:n_validation])),
        "test": np.flatnonzero(np.isin(of_row, groups[n_validation : n_validation + n_test])),
    }


def _labelled(train: Examples, choice: _Choice, rng: np.random.Generator) -> Tensor:
    """Which training rows keep their labels, ``[n]`` bool."""
    labels, keep = train.labels.numpy(), []
    counts = {name: int((labels == c).sum()) for c, name in enumerate(train.class_names)}
    absent = [name for name, count in counts.items() if count == 0]
    if absent and not choice.allow_missing_classes:
        raise DataError(
            f"The labelled training rows have no row of class {some(absent)}; label some, or pass "
            "allow_missing_classes=True."
        )
    for c, (name, count) in enumerate(counts.items()):
        n = count if choice.labels_per_class is None else choice.labels_per_class
        if n > count and name not in absent:
            raise DataError(
                f"{n} labelled rows of class {name!r} were asked for, but {count} remain beside validation and "
                "test; lower labels_per_class or label more."
            )
        keep += rng.permutation(np.flatnonzero(labels == c))[:n].tolist()
    return torch.from_numpy(np.isin(np.arange(len(labels)), keep))


def _teacher_splits(
    data: FolderData, linked: np.ndarray, choice: _Choice, rng: np.random.Generator, *, has_labels: bool
) -> dict[str, Examples]:
    """``link``, and the teacher's own ``train``, ``validation`` and ``test`` from the labelled rows beside it."""
    link = data.examples.subset(linked)
    if not has_labels:  # its labels would give the student's classes away
        link = link.forgotten()
    splits = {"link": link}
    own = np.setdiff1d(np.flatnonzero(data.examples.labels.numpy() != UNLABELLED), linked)
    rest = replace(data, examples=data.examples.subset(own))
    parts = _held_out(rest, choice, rng, _held_out_rows)
    train = np.setdiff1d(np.arange(len(own)), np.concatenate(list(parts.values())))
    parts["train"] = train
    if all(
        len(rows) for rows in parts.values()
    ):  # too few rows to make a teacher from: it must come from elsewhere
        splits |= {role: rest.examples.subset(rows) for role, rows in parts.items()}
    return splits


def _standardised(splits: dict[str, Examples], reference: str) -> tuple[dict[str, Examples], Tensor, Tensor]:
    """All splits less the mean over the deviation of one of them, and these two, ``[columns]`` each."""
    x = splits[reference].all_rows()["x"]
    mean, deviation = x.mean(0), x.std(0, unbiased=False).clamp_min(1e-6)
    standardised = {
        role: replace(rows, inputs={"x": (rows.all_rows()["x"] - mean) / deviation})
        for role, rows in splits.items()
    }
    return standardised, mean, deviation


# -- what links them -------------------------------------------------------------------------------------------


def _link(
    link: str,
    train: Examples,
    student: FolderData,
    teacher: FolderData,
    share: float,
    rng: np.random.Generator,
) -> tuple[Link, np.ndarray]:
    """The link, and the teacher rows that it is about."""
    if link in ("paired", "partly_paired"):
        return _by_key(link, train, teacher.examples)
    if link == "bagged":
        return _by_group(train, student, teacher)
    free = np.flatnonzero(np.isin(_roles(teacher), ("", "train")))  # its own test is kept for itself
    labels = teacher.examples.labels.numpy()[free]
    classes = np.unique(labels if link == "unpaired" else labels[labels != UNLABELLED])
    linked = [
        free[row]
        for c in classes
        for row in rng.permutation(np.flatnonzero(labels == c))[: max(1, round(share * (labels == c).sum()))]
    ]
    return link_named(link), np.array(sorted(linked), dtype=np.int64)


def _by_key(link: str, train: Examples, teacher: Examples) -> tuple[Link, np.ndarray]:
    row_of = {key: row for row, key in enumerate(teacher.keys)}
    teacher_of: dict[Key, Key] = {key: key for key in train.keys if key in row_of}
    alone = [key for key in train.keys if key not in row_of]
    if not teacher_of:
        raise LinkError(
            f"No student key is a teacher key: the student has {some(train.keys, 2)}, the teacher "
            f"{some(teacher.keys, 2)}; give equal keys to what belongs together, or choose another link."
        )
    if alone and link == "paired":
        raise LinkError(
            f"{len(alone)} of {len(train)} training rows have no teacher row of their key, for example "
            f"{some(alone, 3)}; pass link='partly_paired' or add the missing ones."
        )
    rows = np.array(sorted(row_of[key] for key in teacher_of), dtype=np.int64)
    return (Paired if link == "paired" else PartlyPaired)(teacher_of), rows


def _by_group(train: Examples, student: FolderData, teacher: FolderData) -> tuple[Link, np.ndarray]:
    names = {student.groups[key] for key in train.keys if key in student.groups} & set(
        teacher.groups.values()
    )
    if not names:
        raise LinkError(
            "No group of the student's training rows is a group of the teacher's; link='bagged' needs a group column "
            "with common names in both CSV files."
        )
    number = {name: bag for bag, name in enumerate(sorted(names))}
    group_s = {key: number[student.groups[key]] for key in train.keys if student.groups.get(key) in number}
    group_t = {key: number[name] for key, name in teacher.groups.items() if name in number}
    rows = np.array([row for row, key in enumerate(teacher.examples.keys) if key in group_t], dtype=np.int64)
    return Bagged(group_s, group_t), rows
