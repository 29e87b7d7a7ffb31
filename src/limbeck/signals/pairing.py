"""What is known about which teacher rows go with which student rows, and the controls that break it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Key = str | int
Link = Literal["paired", "partly_paired", "bagged", "by_class", "unpaired"]
LINKS: tuple[Link, ...] = ("paired", "partly_paired", "bagged", "by_class", "unpaired")


@dataclass(frozen=True)
class Pairing:
    """The link between the student's rows and the teacher's; ``data`` produces it, only this file defines it.

    Args:
        link: ``paired`` (same sample), ``partly_paired`` (some rows), ``bagged`` (a group of student rows and
            a group of teacher rows belong together, nothing is known inside), ``by_class`` (same label),
            ``unpaired`` (nothing).
        teacher_of: student key to teacher key, for ``paired`` and ``partly_paired``.
        group_s: student key to group number, for ``bagged``.
        group_t: teacher key to group number, for ``bagged``; the same numbers as ``group_s``.
    """

    link: Link
    teacher_of: Mapping[Key, Key] = field(default_factory=dict)
    group_s: Mapping[Key, int] = field(default_factory=dict)
    group_t: Mapping[Key, int] = field(default_factory=dict)
