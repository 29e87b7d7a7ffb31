"""Examples of one modality, and what a view of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck import moved
from limbeck.signals.key import Key

if TYPE_CHECKING:
    pass

# Column name to a tensor ``[n, ...]``, or to an object array of ``n`` texts (see :func:`texts`).
Inputs = dict[str, Any]
# A view takes the stacked inputs of n rows and one generator a row, and returns the augmented inputs.
View = Callable[[Inputs, Sequence[torch.Generator]], Inputs]
RowNumbers = Sequence[int] | Tensor | np.ndarray


@dataclass(frozen=True)
class Examples:
    """Rows of one modality.

    Args:
        inputs: model argument name to a tensor ``[N, ...]``; passed to the model by name, or by position
            when there is only one.
        keys: N unique identifiers.
        labels: ``[N]`` int64 indices into ``class_names``, -100 = unlabelled.
        class_names: the label names, in index order.
        targets: regression only: ``[N]`` float32, the values to predict; then there is one class name (what
            is predicted), and a label is 0 where the value is known.
    """

    inputs: Inputs
    keys: tuple[Key, ...]
    labels: Tensor
    class_names: tuple[str, ...]
    targets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, index: RowNumbers) -> Inputs:
        """Stacked inputs of the given rows."""
        index = torch.as_tensor(index, dtype=torch.long)
        return {name: take_rows(value, index) for name, value in self.inputs.items()}

    def subset(self, index: RowNumbers) -> Examples:
        """The given rows as examples of their own."""
        index = torch.as_tensor(index, dtype=torch.long)
        keys = tuple(self.keys[i] for i in index.tolist())
        targets = None if self.targets is None else self.targets[index]
        return replace(self, inputs=self.rows(index), keys=keys, labels=self.labels[index], targets=targets)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that hold texts, which a student's tokenizer has yet to encode."""
        return tuple(name for name, value in self.inputs.items() if not isinstance(value, Tensor))


def texts(values: Sequence[Any]) -> np.ndarray:
    """A column of texts: an object array ``[N]`` of strings (or of tuples of strings, for multiple choice)."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):  # one by one, or tuples of one length would become an axis
        column[row] = value if isinstance(value, str) else tuple(value)
    return column


def take_rows(value: Any, index: Tensor) -> Any:
    """Rows of one column, a tensor or an object array."""
    return value[index] if isinstance(value, Tensor) else value[index.numpy()]


__getattr__ = moved.names(__name__)
