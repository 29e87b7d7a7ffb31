"""How rows of texts are cut into training, validation and test: by a fixed hash, or by shares of every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from limbeck.data.own.text_rows import TextRow
from limbeck.errors import DataError
from limbeck.seeding import keyed_seed
from limbeck.signals.key import Key


def share_of(*parts: object) -> float:
    """A number in [0, 1) that depends on ``parts`` alone: rows below a share form a fixed split of that size."""
    return keyed_seed(*parts) / 2**63


def cut_by_group(
    rows: Sequence[TextRow], shares: Mapping[str, float], salt: Sequence[object]
) -> dict[str, list[TextRow]]:
    """Rows by role, whole groups each: the first role of ``shares`` takes the hashes below its share, and so on; the
    rest is ``train``."""
    parts: dict[str, list[TextRow]] = {"train": [], **{role: [] for role in shares}}
    for row in rows:
        at, upto, chosen = share_of(*salt, row.group or row.key), 0.0, "train"
        for role, share in shares.items():
            upto += share
            if at < upto:
                chosen = role
                break
        parts[chosen].append(row)
    return parts


def cut_by_class(
    rows: Sequence[TextRow],
    shares: Mapping[str, float],
    class_names: Sequence[str],
    rng: np.random.Generator,
    *,
    role_of: Mapping[Key, str] | None = None,
) -> dict[str, list[TextRow]]:
    """Rows by role: the same share of every class, or of all groups where rows have one; the rest is ``train``.

    Args:
        shares: role to its share of the labelled rows; together below 1.
        class_names: rows whose label is none of them (a value, several labels) are cut together.
        role_of: key to a role that is given; a role named here takes no share.

    Raises: DataError for a role without a labelled row. Rows without labels are left out of all but ``train``.
    """
    given = dict(role_of or {})
    role = {row.key: given.get(row.key, "train") for row in rows}
    free = [row for row in rows if role[row.key] == "train"]
    for units in _strata(free, class_names):
        order, start = rng.permutation(len(units)), 0
        for name, share in shares.items():
            n = 0 if name in given.values() else round(share * len(units))
            for chosen in order[start : start + n]:
                role |= {row.key: name for row in units[chosen]}
            start += n
    parts: dict[str, list[TextRow]] = {
        name: [row for row in rows if role[row.key] == name and (name == "train" or row.label is not None)]
        for name in ("train", *shares)
    }
    if empty := [name for name, members in parts.items() if all(row.label is None for row in members)]:
        raise DataError(f"No labelled row is left for {empty[0]}; give more labelled rows or other shares.")
    return parts


def _strata(rows: Sequence[TextRow], class_names: Sequence[str]) -> list[list[list[TextRow]]]:
    """What shares are taken of: the labelled rows of each class, or all groups, with their unlabelled rows."""
    if any(row.group for row in rows):
        groups: dict[str, list[TextRow]] = {}
        for row in rows:
            groups.setdefault(row.group or f"\0{row.key}", []).append(row)
        return [list(groups.values())]
    strata: dict[object, list[list[TextRow]]] = {name: [] for name in class_names}
    for row in rows:
        if row.label is not None:
            strata.setdefault(row.label if row.label in strata else None, []).append([row])
    return [units for units in strata.values() if units]
