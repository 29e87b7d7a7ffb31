"""Links under their former name, kept for a while; nothing in the library uses it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from limbeck import moved
from limbeck.signals.key import Key
from limbeck.signals.links.bagged import Bagged
from limbeck.signals.links.base import Link
from limbeck.signals.links.choose import LINKS, link_class
from limbeck.signals.links.paired import Paired

__all__ = ["LINKS", "Key", "Link", "Pairing"]


class Pairing:
    """``Pairing("paired", teacher_of=...)`` makes ``Paired(...)``; see :mod:`limbeck.signals.links`."""

    def __new__(cls, link: str, **what: Any) -> Link:  # type: ignore[misc]
        warnings.warn("Pairing has moved; take the classes of limbeck.signals.links.", DeprecationWarning, 2)
        return link_class(link)(**what)

    @classmethod
    def paired(cls, teacher_of: Mapping[Key, Key] | Iterable[Key]) -> Link:
        return Paired(teacher_of)

    @classmethod
    def bagged(cls, group_s: Mapping[Key, int], group_t: Mapping[Key, int]) -> Link:
        return Bagged(group_s, group_t)


__getattr__ = moved.names(__name__)
