"""Links by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from limbeck.errors import LinkError, UnknownNameError, nearest
from limbeck.signals.key import Key

if TYPE_CHECKING:
    from limbeck.signals.links.base import Link

# Link to its file and class. A package's own link need not be here: its task brings the object.
LINKS: dict[str, str] = {
    "paired": "paired:Paired",
    "partly_paired": "paired:PartlyPaired",
    "bagged": "bagged:Bagged",
    "by_class": "by_class:ByClass",
    "unpaired": "unpaired:Unpaired",
}


def link_class(name: str) -> type[Link]:
    """The class of a link that ships; UnknownNameError names the nearest."""
    if name not in LINKS:
        raise UnknownNameError(f"There is no link {name!r}; {nearest(str(name), LINKS)}")
    file, _, kind = LINKS[name].partition(":")
    return getattr(importlib.import_module(f"limbeck.signals.links.{file}"), kind)


def link_named(name: str, *, student_keys: Iterable[Key] = (), teacher_keys: Iterable[Key] = ()) -> Link:
    """A link that keys alone decide: by class, unpaired, or pairs of the keys that both sides share.

    Raises: UnknownNameError; LinkError for bags, which need groups, and where no key is shared.
    """
    cls = link_class(name)
    if name in ("by_class", "unpaired"):
        return cls()
    if name == "bagged":
        raise LinkError(
            "Bags need groups, which keys alone do not tell; let the data say which rows belong together."
        )
    theirs, ours = set(teacher_keys), list(student_keys)
    shared = [key for key in ours if key in theirs]
    if not shared:
        raise LinkError(f"A {name!r} link by keys needs keys that both sides share; there are none.")
    if name == "paired" and len(shared) < len(ours):
        cls = link_class("partly_paired")
    return cls(shared)  # type: ignore[call-arg]
