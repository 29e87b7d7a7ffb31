"""A user's own data: any source, of any modality, linked in any way to a teacher's, or to a bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from limbeck.data.base import Examples, View
from limbeck.data.own.cutting import Shares, fitted, standardised, student_splits, teacher_splits
from limbeck.data.own.folders import FolderData
from limbeck.data.own.linking import KEEPS_LABELS, alone, link_settings, linked, told
from limbeck.data.own.read_side import read_side
from limbeck.data.own.several import SEVERAL, VIEWS, several_views
from limbeck.data.own.sides.side import Side, side_of
from limbeck.data.splits import Splits
from limbeck.data.task import TEACHER, Task, TeacherSide
from limbeck.errors import ConfigError
from limbeck.seeding import keyed_seed
from limbeck.signals.links.bagged import Bagged

_OF_NUMBERS = ("table", "series")  # standardised by the training rows


def own_data(
    *,
    student: Mapping[str, Any],
    teacher: Mapping[str, Any] | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
    link: str | Mapping[str, Any] = "partly_paired",
    problem: str | Mapping[str, Any] = "classification",
    labels_per_class: int | None = None,
    validation_share: float = 0.15,
    test_share: float = 0.2,
    link_share: float = 0.3,
    allow_missing_classes: bool = False,
    seed: int = 0,
) -> Task:
    """The task of teaching the rows of one source by a teacher of another's.

    Args:
        student: ``{source, modality, input, key, label, ...}``, see :class:`~limbeck.data.own.sides.side.Side`.
        teacher: the same of the rows that the teacher is asked about; without a modality they are keys only, and
            the recipe's bank holds what it says of them. None: the bank named under ``teacher`` is keyed by the
            student's rows.
        teachers: several of them by name, each with a ``link`` of its own if it differs.
        link: a kind, or ``{kind, by}``. ``paired``: equal keys belong together; a row without a partner is an error.
            ``partly_paired``: the same, and rows without a partner are normal. ``bagged``: rows of an equal group
            belong together. ``by_class``, ``unpaired``. ``by`` is the column that it goes by, on both sides.
        problem: ``classification``, ``regression``, ``multilabel``, ``choice``, one that a package registers, or
            ``{kind: ..., setting: value}``.
        labels_per_class: keep so many labels of each class (rows, where these have no one class), drawn by ``seed``.
        validation_share, test_share: of the labelled rows, by class, or of whole groups where there are groups; not
            where a split column or folder names them.
        link_share: of the teacher's rows that it is asked about where ``by_class`` or ``unpaired`` links them.
        allow_missing_classes: a class without a labelled training row is an error unless this is set.
        seed: of all splits and draws.

    Raises: DataError, LinkError, ConfigError, UnknownNameError: one sentence with the mend.
    """
    shares = Shares(labels_per_class, validation_share, test_share, link_share, allow_missing_classes)
    shares.check()
    asked = _teachers(teacher, teachers, link)
    ours = side_of(_by(student, *(kind for _, kind in asked.values())), "student", needs_modality=True)
    learnt = read_side(ours, "student", problem)
    learnt.examples.problem.check(learnt.examples.targets, learnt.report["source"])
    read = {
        name: None if side is None else _read_teacher(side, name, learnt.examples, problem)
        for name, (side, _) in asked.items()
    }
    kinds = {name: settings["kind"] for name, (_, settings) in asked.items()}
    return task_of("own", learnt, read, kinds, shares, np.random.default_rng(keyed_seed("own", seed)), seed)


def _teachers(
    teacher: Mapping[str, Any] | None, teachers: Mapping[str, Mapping[str, Any]] | None, link: Any
) -> dict[str, tuple[Side | None, dict[str, Any]]]:
    """Name to side (None: the bank stands for it) and settings of the link."""
    if teacher is not None and teachers:
        raise ConfigError("The data have both teacher and teachers; name all of them under teachers.")
    if not teachers:
        settings = link_settings(link)
        if teacher is None:
            return {TEACHER: (None, settings)}
        return {TEACHER: (side_of(_by(teacher, settings), TEACHER, needs_modality=False), settings)}
    found: dict[str, tuple[Side | None, dict[str, Any]]] = {}
    for name, values in teachers.items():
        if not isinstance(values, Mapping):
            raise ConfigError(f"teachers.{name} is a mapping such as {{source: photos/, modality: image}}.")
        settings = link_settings(values.get("link", link), f"teachers.{name}.link")
        rest = {key: value for key, value in values.items() if key != "link"}
        side = side_of(_by(rest, settings), f"teachers.{name}", needs_modality=False) if rest else None
        found[name] = (side, settings)
    return found


def _by(values: Any, *settings: Mapping[str, Any]) -> Any:
    """A side's settings with the column that its links go by, where it does not say otherwise."""
    if not isinstance(values, Mapping):
        return values
    role = {"paired": "key", "partly_paired": "key", "bagged": "group", "by_class": "label"}
    named = {role[link["kind"]]: link["by"] for link in settings if link["by"] is not None}
    return {**named, **values}


def _read_teacher(side: Side, name: str, student: Examples, spec: str | Mapping[str, Any]) -> FolderData:
    """The rows of a teacher, with the student's problem where they have labels of that kind."""
    if student.problem.chooses:  # which a teacher's rows do not: they are told apart by class
        return read_side(side, name, "classification")
    if (
        not student.problem.is_distribution and side.label is None
    ):  # classes of its own say nothing of a value
        side = replace(side, label=False)
    return read_side(side, name, spec, student.class_names)


def task_of(
    name: str,
    student: FolderData,
    teachers: Mapping[str, FolderData | None],
    kinds: Mapping[str, str],
    shares: Shares,
    rng: np.random.Generator,
    seed: int,
) -> Task:
    """The task of sides that were read.

    Args:
        teachers: None for one whose bank is keyed by the student's rows.    kinds: of the links, by teacher.
    """
    whole_groups = bool(student.groups) and (name == "own" or "bagged" in kinds.values())
    splits, truth = student_splits(student, shares, rng, whole_groups=whole_groups)
    splits = fitted(splits, "train")
    train = splits["train"]
    sides, facts, notes = {}, {}, []
    for who, data in teachers.items():
        sides[who], note = _side(kinds[who], train, student, data, shares, rng)
        facts[who] = {"source": "the bank"} if data is None else data.report
        notes += [f"{note} {who!r}" if len(teachers) > 1 else note] if note else []
    splits, preprocessor = _standardised(splits, "train", student)
    return Task(
        name=name,
        splits=Splits(**splits),
        teachers=sides,
        views=_views(student),
        truth=truth if train.problem.classes(train.targets) is not None else None,
        preprocessor=preprocessor,
        info={
            "student": student.report,
            **(facts if len(facts) == 1 else {"teachers": facts}),
            "link": "+".join(dict.fromkeys(side.link.name for side in sides.values())),
            "n_labelled": int(train.targets.known.sum()),
            "n_unlabelled": int((~train.targets.known).sum()),
            "n_bags": sum(
                len(set(side.link.group_s.values()))
                for side in sides.values()
                if isinstance(side.link, Bagged)
            ),
            **({"notes": notes} if notes else {}),
            "seed": seed,
        },
    )


def _side(
    kind: str,
    train: Examples,
    student: FolderData,
    data: FolderData | None,
    shares: Shares,
    rng: np.random.Generator,
) -> tuple[TeacherSide, str | None]:
    """One teacher's side, and how many training rows it has nothing for."""
    if data is None:
        return TeacherSide(Splits(link=train.forgotten()), alone(kind, train), _views(student)), None
    link, rows = linked(kind, train, student, data, shares.link, rng)
    splits = teacher_splits(data, rows, shares, rng, has_labels=kind in KEEPS_LABELS)
    splits = fitted(splits, "train" if "train" in splits else "link")
    splits, preprocessor = _standardised(splits, "train" if "train" in splits else "link", data)
    missing = told(link, train)
    return TeacherSide(Splits(**splits), link, _views(data), preprocessor), missing


def _standardised(
    splits: dict[str, Examples], reference: str, data: FolderData
) -> tuple[dict[str, Examples], dict[str, Any]]:
    """The splits with what are numbers standardised by one of them, and the settings with mean and deviation."""
    settings, several = data.preprocessor, data.kind == SEVERAL
    parts = dict(settings["inputs"]) if several else {"x": dict(settings)}
    for name, part in parts.items():
        if (part["kind"] if several else data.kind) in _OF_NUMBERS:
            splits, mean, deviation = standardised(splits, reference, name)
            parts[name] = {**part, "mean": mean.tolist(), "deviation": deviation.tolist()}
    return splits, {**settings, "inputs": parts} if several else parts["x"]


def _views(data: FolderData) -> dict[str, View]:
    if data.kind == SEVERAL:
        return several_views(data.preprocessor)
    return VIEWS[data.kind]() if data.kind in VIEWS else {}
