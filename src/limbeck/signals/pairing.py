"""What is known about which teacher rows go with which student rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from limbeck import moved
from limbeck.errors import DataError, LinkError, UnknownNameError, nearest, some
from limbeck.signals.key import Key

if TYPE_CHECKING:
    from limbeck.banks.bank import Bank

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

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise UnknownNameError(f"There is no link {self.link!r}; {nearest(str(self.link), LINKS)}")
        wants_pairs, wants_groups = self.link in ("paired", "partly_paired"), self.link == "bagged"
        if wants_pairs != bool(self.teacher_of):
            raise LinkError(
                f"A {self.link!r} link {'needs' if wants_pairs else 'takes no'} teacher_of "
                "(student key to teacher key)."
            )
        if wants_groups != bool(self.group_s) or wants_groups != bool(self.group_t):
            raise LinkError(
                f"A {self.link!r} link {'needs' if wants_groups else 'takes no'} group_s and group_t "
                "(key to group number, of each side)."
            )
        if wants_groups:
            self._check_groups()

    def _check_groups(self) -> None:
        ours, theirs = set(self.group_s.values()), set(self.group_t.values())
        if lonely := ours ^ theirs:
            raise LinkError(f"Groups {some(sorted(lonely))} have rows of one side only; leave them out.")
        if low := [g for g in ours if g < 0]:
            raise LinkError(f"Group numbers start at 0; found {some(sorted(low))}.")

    @classmethod
    def paired(cls, teacher_of: Mapping[Key, Key] | Iterable[Key]) -> Pairing:
        """Rows of the same sample: student key to teacher key, or the keys that both sides share."""
        pairs = teacher_of if isinstance(teacher_of, Mapping) else {key: key for key in teacher_of}
        return cls("paired", teacher_of=pairs)

    @classmethod
    def bagged(cls, group_s: Mapping[Key, int], group_t: Mapping[Key, int]) -> Pairing:
        """Groups of rows that belong together: key to group number, of each side."""
        return cls("bagged", group_s=group_s, group_t=group_t)

    @property
    def teacher_keys(self) -> tuple[Key, ...]:
        """Keys of the teacher rows that the link names, each once; none for by_class and unpaired."""
        return tuple(dict.fromkeys(self.teacher_of.values())) or tuple(self.group_t)

    def check(self, student_keys: Iterable[Key], bank: Bank) -> None:
        """Every key that the link names must exist.

        Raises: DataError naming student keys, MissingKeysError naming teacher keys.
        """
        known = set(student_keys)
        named = self.teacher_of or self.group_s
        if lost := [k for k in named if k not in known]:
            raise DataError(f"The link names student keys that the data does not have: {some(lost)}.")
        if self.teacher_keys:
            bank.rows_of(self.teacher_keys, bank.views[0])


__getattr__ = moved.names(__name__)
