"""How the rows of two sides are cut into training, validation and test, and which of them a teacher has for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.data.own.folders import FolderData
from limbeck.data.own.stored import Standardised
from limbeck.errors import ConfigError, DataError, some
from limbeck.signals.key import Key


@dataclass(frozen=True)
class Shares:
    """How rows are cut, as asked for (see :func:`~limbeck.data.own.own_data.own_data`)."""

    labels_per_class: int | None = None
    validation: float = 0.15
    test: float = 0.2
    link: float = 0.3
    allow_missing_classes: bool = False

    def check(self) -> None:
        """Raises: ConfigError for a share that is none."""
        shares = (self.validation, self.test, self.link)
        if any(not 0 < share < 1 for share in shares) or self.validation + self.test >= 1:
            raise ConfigError(
                "validation_share, test_share and link_share must lie between 0 and 1, and the first two leave "
                f"training rows; they are {', '.join(map(str, shares[:2]))} and {shares[2]}."
            )
        if self.labels_per_class is not None and self.labels_per_class < 1:
            raise ConfigError(
                f"labels_per_class={self.labels_per_class} must be at least 1, or null for all labels."
            )


def strata(examples: Examples) -> dict[str, np.ndarray]:
    """The labelled rows of each class; of a problem whose rows have no one class all of them together."""
    classes = examples.problem.classes(examples.targets)
    if classes is None or examples.problem.chooses:
        return {", ".join(examples.class_names): np.flatnonzero(examples.targets.known.numpy())}
    return {name: np.flatnonzero(classes.numpy() == c) for c, name in enumerate(examples.class_names)}


def student_splits(
    data: FolderData, shares: Shares, rng: np.random.Generator, *, whole_groups: bool
) -> tuple[dict[str, Examples], Tensor]:
    """``train``, ``validation`` and ``test``, and the true classes of the training rows.

    Args:
        whole_groups: rows of an equal group stay in one split.

    Raises: DataError for a split without rows or labels, and for a class without any.
    """
    examples = data.examples
    parts = _held_out(data, shares, rng, whole_groups=whole_groups)
    train_rows = np.setdiff1d(np.arange(len(examples)), np.concatenate(list(parts.values())))
    if not len(train_rows):
        raise DataError("Validation and test take all student rows or groups; give more, or smaller shares.")
    train = examples.subset(train_rows)
    truth = train.labels.clone()
    labelled = _labelled(train, shares, rng)
    splits = {"train": train.forgotten(~labelled)}
    known = examples.targets.known.numpy()
    for role, rows in parts.items():
        if not known[rows].any():
            raise DataError(
                f"No labelled row is left for {role}; give more labelled rows or raise {role}_share."
            )
        splits[role] = examples.subset(rows[known[rows]])
    return splits, truth


def _held_out(
    data: FolderData, shares: Shares, rng: np.random.Generator, *, whole_groups: bool
) -> dict[str, np.ndarray]:
    """Rows of validation and test: those that lie in folders of these names, else shares of the others."""
    given = {role: np.flatnonzero(roles_of(data) == role) for role in ("validation", "test")}
    free = np.setdiff1d(np.arange(len(data.examples)), np.concatenate(list(given.values())))
    if all(len(rows) for rows in given.values()):
        return given
    keys = data.examples.keys
    rest = Examples(
        {}, [keys[i] for i in free], data.examples.targets.rows(torch.from_numpy(free)), data.examples.problem
    )
    drawn = _groups_drawn(rest, data.groups, shares, rng) if whole_groups else _rows_drawn(rest, shares, rng)
    return {role: rows if len(rows) else free[drawn[role]] for role, rows in given.items()}


def roles_of(data: FolderData) -> np.ndarray:
    """Of each row the split that it lies in, empty where that is free."""
    return np.array([data.roles.get(key, "") for key in data.examples.keys], dtype=object)


def _rows_drawn(examples: Examples, shares: Shares, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of validation and test: the same share of every class."""
    parts: dict[str, list[int]] = {"validation": [], "test": []}
    for members in strata(examples).values():
        rows = rng.permutation(members)
        n_validation, n_test = (round(share * len(rows)) for share in (shares.validation, shares.test))
        parts["validation"] += rows[:n_validation].tolist()
        parts["test"] += rows[n_validation : n_validation + n_test].tolist()
    return {role: np.array(sorted(rows), dtype=np.int64) for role, rows in parts.items()}


def _groups_drawn(
    examples: Examples, groups: Mapping[Key, str], shares: Shares, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Rows of validation and test: whole groups, so that no session is both trained and tested on."""
    of_row = np.array(
        [groups.get(key, f"\0{key}") for key in examples.keys]
    )  # a row without a group is its own
    names = rng.permutation(np.unique(of_row))
    n_validation, n_test = (max(1, round(share * len(names))) for share in (shares.validation, shares.test))
    return {
        "validation": np.flatnonzero(np.isin(of_row, names[:n_validation])),
        "test": np.flatnonzero(np.isin(of_row, names[n_validation : n_validation + n_test])),
    }


def _labelled(train: Examples, shares: Shares, rng: np.random.Generator) -> Tensor:
    """Which training rows keep their labels, ``[n]`` bool."""
    keep: list[int] = []
    members = strata(train)
    absent = [name for name, rows in members.items() if not len(rows)]
    if absent and not shares.allow_missing_classes:
        raise DataError(
            f"The labelled training rows have no row of class {some(absent)}; label some, or pass "
            "allow_missing_classes=True."
        )
    for name, rows in members.items():
        n = len(rows) if shares.labels_per_class is None else shares.labels_per_class
        if n > len(rows) and name not in absent:
            raise DataError(
                f"{n} labelled rows of class {name!r} were asked for, but {len(rows)} remain beside validation and "
                "test; lower labels_per_class or label more."
            )
        keep += rng.permutation(rows)[:n].tolist()
    return torch.from_numpy(np.isin(np.arange(len(train)), keep))


def teacher_splits(
    data: FolderData, linked: np.ndarray, shares: Shares, rng: np.random.Generator, *, has_labels: bool
) -> dict[str, Examples]:
    """``link``, and the teacher's own ``train``, ``validation`` and ``test`` from the labelled rows beside it.

    Args:
        has_labels: the linked rows keep their labels, which is what links them; elsewhere these would give the
            student's classes away.
    """
    link = data.examples.subset(linked)
    splits = {"link": link if has_labels else link.forgotten()}
    own = np.setdiff1d(np.flatnonzero(data.examples.targets.known.numpy()), linked)
    rest = replace(data, examples=data.examples.subset(own))
    parts = _held_out(rest, shares, rng, whole_groups=False)
    parts["train"] = np.setdiff1d(np.arange(len(own)), np.concatenate(list(parts.values())))
    if all(len(rows) for rows in parts.values()):  # too few to make a teacher from: it comes from elsewhere
        splits |= {role: rest.examples.subset(rows) for role, rows in parts.items()}
    return splits


def fitted(splits: dict[str, Examples], reference: str) -> dict[str, Examples]:
    """All splits with the problem as the rows of one of them tell it (weights of classes)."""
    rows = splits[reference]
    problem = rows.problem.fitted(rows.targets)
    return {role: replace(part, problem=problem) for role, part in splits.items()}


def standardised(
    splits: dict[str, Examples], reference: str, column: str = "x"
) -> tuple[dict[str, Examples], Tensor, Tensor]:
    """All splits with one input less the mean over the deviation of one of them, and these two, ``[columns]`` each; of
    series ``[n, c, L]`` they are those of a channel, over all steps, ``[c]``."""
    rows = splits[reference]
    one = rows.rows([0])[column][0].double()
    steps = one[0].numel()
    shift = one.reshape(len(one), -1)[:, 0]  # near the mean, or squares of large values lose their digits
    n, total, squares = len(rows) * steps, torch.zeros_like(shift), torch.zeros_like(shift)
    at_once = max(1, _AT_ONCE // steps)
    for first in range(0, len(rows), at_once):  # a table on disk is read a piece at a time
        x = rows.rows(range(first, min(first + at_once, len(rows))))[column].double()
        x = x.reshape(*x.shape[:2], -1) - shift[:, None]
        total, squares = total + x.sum((0, 2)), squares + x.square().sum((0, 2))
    mean = (shift + total / n).float()
    deviation = (squares / n - (total / n).square()).clamp_min(0).sqrt().float().clamp_min(1e-6)
    shape = (-1, *[1] * (one.dim() - 1))
    mended = {
        role: _less(rows, column, mean.view(shape), deviation.view(shape)) for role, rows in splits.items()
    }
    return mended, mean, deviation


_AT_ONCE = 65_536  # rows


def _less(rows: Examples, column: str, mean: Tensor, deviation: Tensor) -> Examples:
    if isinstance(rows.inputs, Mapping):
        return replace(rows, inputs={**rows.inputs, column: (rows.inputs[column] - mean) / deviation})
    return replace(rows, inputs=Standardised(rows.inputs, mean, deviation, column))
