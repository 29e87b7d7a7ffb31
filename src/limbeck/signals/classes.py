"""Class names, not class numbers: teacher, data and student are joined by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from limbeck.errors import ClassNamesError, some

if TYPE_CHECKING:
    import numpy as np

UNLABELLED = -100  # the number of no class, where labels are numbers


def refuse_twice(names: Sequence[str]) -> None:
    """ClassNamesError for class names of which one comes twice: joined by name, both would be the first."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ClassNamesError(
            f"Class names must be unique; these come twice: {some(twice)}. Give each class a name of its own."
        )


def join_class_names(
    ours: Sequence[str],
    theirs: Sequence[str],
    class_map: Mapping[str, str] | None = None,
    *,
    whose: tuple[str, str] = ("student", "teacher"),
    subset: bool = False,
) -> list[int]:
    """For each of our classes its number among theirs, ``[len(ours)]``.

    Args:
        ours: class names in our order.    theirs: class names in their order.
        class_map: our name to their name, for classes whose names differ. Without it both sets must be equal.
        whose: what to call the two sides in the error.
        subset: accept that they know more classes than we do.

    Raises: ClassNamesError that names the classes in question.
    """
    for side in (ours, theirs):
        refuse_twice(side)
    wanted = [(class_map or {}).get(name, name) for name in ours]
    place = {name: i for i, name in enumerate(theirs)}
    unknown = [name for name in wanted if name not in place]
    left = [] if subset or class_map else [name for name in theirs if name not in set(wanted)]
    if unknown or left:
        one, other = whose
        parts = [f"only the {one} has {some(unknown)}"] if unknown else []
        parts += [f"only the {other} has {some(left)}"] if left else []
        raise ClassNamesError(
            f"The class names of {one} and {other} differ: {'; '.join(parts)}. "
            f"Pass class_map={{{one} name: {other} name}} to say which belong together."
        )
    return [place[name] for name in wanted]


def rows_by_class(labels: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows sorted by class; and for each class where its rows start and how many it has.

    Args:
        labels: ``[N]`` class numbers, negative = unknown.
    """
    import numpy as np

    known = np.flatnonzero(labels >= 0)
    order = known[np.argsort(labels[known], kind="stable")]
    counts = np.bincount(labels[known], minlength=n_classes)
    return order, np.cumsum(counts) - counts, counts
