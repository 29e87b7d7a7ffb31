"""What the two streams of a run consist of, and whether a method fits what links its data."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ConfigError, LinkError
from limbeck.methods.declared import Declared
from limbeck.signals.links.base import Link
from limbeck.training.collator import DistillationCollator


def streams(
    collate: DistillationCollator, *, has_teacher: bool, unlabelled: bool = False
) -> tuple[Tensor, Tensor | list[list[int]]]:
    """Row numbers of the labelled stream, and the units of the second one: what the teachers' links draw beside the
    labelled rows, each once; single rows ``[U]``, or whole bags. A method without a teacher has no second stream, or
    all rows that are not ``known``, where it asks for the ``unlabelled`` ones.
    """
    known = collate.examples.targets.known
    labelled = torch.nonzero(known).squeeze(1)
    if unlabelled and not has_teacher:
        return labelled, torch.nonzero(~known).squeeze(1)
    found = [
        t.link.second_stream(collate.examples.keys, known) for t in collate.teachers.values() if has_teacher
    ]
    rows = [part for part in found if isinstance(part, Tensor) and len(part)]
    bags = dict.fromkeys(tuple(bag) for part in found if not isinstance(part, Tensor) for bag in part)
    if bags:
        return labelled, [list(bag) for bag in bags]
    if len(rows) == 1:
        return labelled, rows[0]
    return labelled, torch.cat(rows).unique() if rows else torch.empty(0, dtype=torch.long)


def in_bags(collate: DistillationCollator) -> bool:
    """Whether the second stream consists of whole bags.

    Raises: ConfigError for teachers of which one is linked by bags and another by rows.
    """
    kinds = {t.link.in_bags for t in collate.teachers.values() if not t.link.goes_by_class}
    if len(kinds) > 1:
        raise ConfigError(
            "One teacher is linked by bags and another by rows, so it is not clear what a step draws; link both alike, "
            "or run them one after the other."
        )
    return kinds == {True}


def check_links(method: str, declared: Declared, collate: DistillationCollator) -> None:
    """Refuse a method whose link the data does not have, and links that name rows which data or teacher lack.

    Raises: LinkError; DataError naming student keys; MissingKeysError naming teacher keys.
    """
    for name, teacher in collate.teachers.items():
        whose = "" if len(collate.teachers) == 1 else f" to the teacher {name!r}"
        check_link(method, declared, teacher.link, whose)
        if not teacher.sees_student:
            teacher.link.check(collate.examples.keys, teacher.source)


def check_link(method: str, declared: Declared, link: Link, whose: str = "") -> None:
    """Refuse a link that the method does not claim; LinkError."""
    if declared.links and link.name not in declared.links:
        raise LinkError(
            f"Method {method!r} works with data linked as {', '.join(sorted(declared.links))}; this data is linked "
            f"as {link.name!r}{whose}."
        )
