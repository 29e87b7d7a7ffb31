"""Rows of a step ordered by their length before the step is cut into parts, so that less of them is padding."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from limbeck.data.base import Examples
from limbeck.methods.declared import Declared


def row_lengths(examples: Examples) -> Tensor | None:
    """Positions that each row shows, ``[n]`` whole numbers; None for rows without a mask, and for rows on disk, whose
    masks would have to be read for it."""
    mask = examples.inputs.get("attention_mask") if isinstance(examples.inputs, Mapping) else None
    return None if mask is None else mask.flatten(1, -2).any(1).sum(-1) if mask.ndim > 2 else mask.sum(-1)


def regroups(declared: Declared) -> bool:
    """Whether the rows of a step may be cut into other parts: no term compares the rows of a part with each other, and
    nothing is descended on one before the step."""
    return "batch" not in declared.units.values() and not declared.descents
