"""A teacher too large for one tensor: a callable that yields its rows block by block, anew at each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.precision import check_finite

# What it yields are tensors (rows, d), or outputs of a teacher, which hold them as ``features``: with a bank,
# ``lambda: bank.blocks(8192)``.
Blocks = Callable[[], Iterable[Any]]


def rows_in_blocks(blocks: Blocks, width: int, like: Tensor, *, validate: bool = False) -> Iterator[Tensor]:
    """One pass over the rows, each block moved to the device and type of ``like``; empty blocks are left out."""
    if not callable(blocks):
        raise ConfigError("x_t must be a tensor or a callable that yields blocks of rows anew at every call")
    start = 0
    for block in blocks():
        rows = block if isinstance(block, Tensor) else block.features
        if rows.dim() != 2 or rows.shape[1] != width:
            raise DataError(f"a block of x_t must be (rows, {width}), got {tuple(rows.shape)}")
        if validate:
            check_finite(rows, f"x_t (block from row {start})")
        start += len(rows)
        if len(rows):
            yield rows.detach().to(like)
    if not start:
        raise DataError("the teacher yielded no rows")


def leading_block(blocks: Blocks) -> Tensor:
    """The first block, to see width and type."""
    block = next(iter(blocks()), None)
    if block is None:
        raise DataError("the teacher yielded no rows")
    return block if isinstance(block, Tensor) else block.features
