"""How much a row of each class counts in the label loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, UnknownNameError, nearest

BALANCED = "balanced"


def checked_weights(asked: Any, names: Sequence[str]) -> tuple[float, ...] | str | None:
    """``balanced``, None, or a weight for each of ``names`` from a list in their order or a mapping by name (1 where
    it names none).

    Raises: ConfigError, UnknownNameError: one sentence with the mend.
    """
    if asked is None or asked == BALANCED:
        return asked
    if isinstance(asked, Mapping):
        for name in asked:
            if str(name) not in names:
                raise UnknownNameError(
                    f"class_weights has no class {str(name)!r}; {nearest(str(name), names)}"
                )
        by_name = {str(name): value for name, value in asked.items()}
        asked = [by_name.get(name, 1.0) for name in names]
    numbers = asked if isinstance(asked, (list, tuple)) else []
    if not numbers or not all(_is_weight(value) for value in numbers):
        raise ConfigError(
            f"class_weights is {BALANCED}, or a number of at least 0 for each class ({{{', '.join(names[:2])}: 2.0}}); "
            f"it is {asked!r}."
        )
    if len(numbers) != len(names):
        raise ConfigError(
            f"class_weights has {len(numbers)} numbers for {len(names)} classes; give one for each."
        )
    return tuple(map(float, numbers))


def balanced_weights(classes: Tensor, n_classes: int) -> tuple[float, ...]:
    """Weights by which all classes count alike and a known row counts 1 on average; 1 for a class without a row.

    Args:
        classes: of all known rows or positions, int64.
    """
    counts = torch.bincount(classes, minlength=n_classes).double()
    there = counts > 0
    share = counts.sum() / there.sum().clamp(min=1)
    return tuple(torch.where(there, share / counts.clamp(min=1), 1.0).tolist())


def _is_weight(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )
