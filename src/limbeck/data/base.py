"""Examples of one modality, and what a view of them is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from limbeck import moved
from limbeck.signals.classes import UNLABELLED

if TYPE_CHECKING:
    from limbeck.problems.base import Problem, Targets
    from limbeck.signals.key import Key

# Column name to a tensor ``[n, ...]``, or to an object array of ``n`` texts (see :func:`texts`).
Inputs = dict[str, Any]
# A view takes the stacked inputs of n rows and one generator a row, and returns the augmented inputs.
View = Callable[[Inputs, Sequence[torch.Generator]], Inputs]
RowNumbers = Sequence[int] | Tensor | np.ndarray


class Table(Protocol):
    """Inputs that are read when they are asked for (see ``own/arrow.py``)."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def rows(self, index: Tensor) -> Inputs:
        """Column to the stacked values of the given rows, in their order."""


@dataclass(frozen=True)
class Examples:
    """Rows of one modality. :meth:`rows` is the one way to their inputs, which may lie on disk until then.

    Args:
        inputs: model argument name to a column of N rows, a tensor ``[N, ...]`` or an object array of texts; or a
            :class:`Table` of such columns. Passed to the model by name, or by position when there is only one.
        keys: N unique identifiers.
        targets: what is to be found for each row, where it is known.    problem: what that means.
    """

    inputs: Mapping[str, Any] | Table
    keys: Sequence[Key]
    targets: Targets
    problem: Problem

    @classmethod
    def classified(
        cls,
        inputs: Mapping[str, Any],
        keys: Sequence[Key],
        labels: Tensor | Sequence[int],
        class_names: Sequence[str],
    ) -> Examples:
        """Rows of a classification.

        Args:
            labels: ``[N]`` class numbers, -100 = unlabelled.    class_names: in the order of the numbers.
        """
        from limbeck.problems.classification import Classification, numbered

        return cls(inputs, keys, numbered(torch.as_tensor(labels)), Classification(tuple(class_names)))

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the problem's outputs."""
        return self.problem.names

    @cached_property
    def labels(self) -> Tensor:
        """``[N]`` int64, -100 = unlabelled: class numbers; 0 where the problem has none."""
        classes = self.problem.classes(self.targets)
        return torch.where(self.targets.known, 0, UNLABELLED) if classes is None else classes

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self.inputs) if isinstance(self.inputs, Mapping) else self.inputs.columns

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that hold texts, which a student's tokenizer has yet to encode."""
        return (
            tuple(name for name, value in self.rows([0]).items() if not isinstance(value, Tensor))
            if self
            else ()
        )

    def rows(self, index: RowNumbers) -> Inputs:
        """Stacked inputs of the given rows."""
        index = torch.as_tensor(index, dtype=torch.long)
        if not isinstance(self.inputs, Mapping):
            return self.inputs.rows(index)
        return {name: take_rows(value, index) for name, value in self.inputs.items()}

    def all_rows(self) -> Inputs:
        """The inputs of all rows, in memory."""
        return (
            dict(self.inputs)
            if isinstance(self.inputs, Mapping)
            else self.inputs.rows(torch.arange(len(self)))
        )

    def subset(self, index: RowNumbers) -> Examples:
        """The given rows as examples of their own; what lies on disk stays there."""
        index = torch.as_tensor(index, dtype=torch.long)
        keys = tuple(self.keys[i] for i in index.tolist())
        inputs = self.rows(index) if isinstance(self.inputs, Mapping) else Picked(self.inputs, index)
        return replace(self, inputs=inputs, keys=keys, targets=self.targets.rows(index))

    def forgotten(self, where: Tensor | None = None) -> Examples:
        """The same rows without what is to be found where ``where [N]`` says so; default: everywhere."""
        where = torch.ones(len(self), dtype=torch.bool) if where is None else where
        return replace(self, targets=self.targets.forgotten(where))


@dataclass(frozen=True)
class Picked:
    """Some rows of a :class:`Table`, by their numbers ``index [n]``."""

    table: Table
    index: Tensor

    @property
    def columns(self) -> tuple[str, ...]:
        return self.table.columns

    def rows(self, index: Tensor) -> Inputs:
        return self.table.rows(self.index[index])


def texts(values: Sequence[Any]) -> np.ndarray:
    """A column of texts: an object array ``[N]`` of strings (or of tuples of strings, for multiple choice)."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):  # one by one, or tuples of one length would become an axis
        column[row] = value if isinstance(value, str) else tuple(value)
    return column


def take_rows(value: Any, index: Tensor) -> Any:
    """Rows of one column."""
    return value[index.numpy()] if isinstance(value, np.ndarray) else value[index]


__getattr__ = moved.names(__name__)
