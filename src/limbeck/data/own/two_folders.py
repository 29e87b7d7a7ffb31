"""A task from two data sets of a user's own: the student's modality, the teacher's, and what links them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limbeck.data.own.cutting import Shares
from limbeck.data.own.folders import FolderData, Modality, folder
from limbeck.data.own.own_data import task_of
from limbeck.data.task import TEACHER, Task
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.seeding import keyed_seed
from limbeck.signals.links.choose import LINKS

Source = str | Path | FolderData
LinkName = Literal["paired", "partly_paired", "bagged", "by_class", "unpaired"]


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
    if link not in LINKS:
        raise UnknownNameError(f"There is no link {link!r}; {nearest(link, LINKS)}")
    shares = Shares(labels_per_class, validation_share, test_share, link_share, allow_missing_classes)
    shares.check()
    read_s = _read(student, student_modality, student_options, "student")
    read_t = _read(teacher, teacher_modality, teacher_options, "teacher")
    rng = np.random.default_rng(keyed_seed("two_folders", seed))
    return task_of("two_folders", read_s, {TEACHER: read_t}, {TEACHER: link}, shares, rng, seed)


def _read(source: Source, modality: Modality, options: Mapping[str, Any] | None, side: str) -> FolderData:
    if isinstance(source, FolderData):
        return source
    try:
        return folder(source, modality, **dict(options or {}))
    except TypeError as error:
        raise ConfigError(f"{side}_options holds a setting that does not exist or fit: {error}.") from error
