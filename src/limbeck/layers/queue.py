"""The last rows that passed, of all ranks, as negatives of a contrast."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError
from limbeck.layers.gather import gather_with_grad


class Queue(nn.Module):
    """A ring of rows, first in first out; its buffers are part of the checkpoint, and no gradient reaches them.

    Args:
        size: rows that it holds, >= 1.    widths: columns, each name with its width.

    Every rank must push in the same order: rows of all ranks enter, in rank order, so that all hold the same queue.

    Raises: ConfigError for a size below 1.

    Example:
        >>> queue = Queue(3, teacher=2)
        >>> queue.push(torch.tensor([7, 8]), teacher=torch.ones(2, 2))
        >>> queue.numbers, queue.rows("teacher").shape
        (tensor([7, 8]), torch.Size([2, 2]))
    """

    passed: Tensor  # rows that were ever pushed

    def __init__(self, size: int, **widths: int) -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(f"A queue holds at least one row, not {size}.")
        self.size = size
        for name, width in widths.items():
            self.register_buffer(f"of_{name}", torch.zeros(size, width))
        self.register_buffer("of_numbers", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("passed", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """How many rows it holds by now."""
        return min(int(self.passed), self.size)

    def rows(self, name: str) -> Tensor:
        """``[len(self), width]``, a view: what is pushed later shows in it, so use a copy in a graph."""
        return getattr(self, f"of_{name}")[: len(self)]

    @property
    def numbers(self) -> Tensor:
        """``[len(self)]`` int64, the numbers that the rows were pushed with."""
        return self.rows("numbers")

    @torch.no_grad()
    def push(self, numbers: Tensor, **columns: Tensor) -> None:
        """Add rows in the place of the oldest.

        Args:
            numbers: ``[n]`` int64; rows of one number are the same sample.    columns: ``[n, width]`` of each name.

        Raises: DataError for columns of another length or name.
        """
        wanted = {name.removeprefix("of_") for name, _ in self.named_buffers() if name.startswith("of_")}
        given = {"numbers": numbers, **columns}
        if set(given) != wanted or len({len(rows) for rows in given.values()}) > 1:
            shapes = {name: list(rows.shape) for name, rows in given.items()}
            raise DataError(f"A queue of {', '.join(sorted(wanted))} was given {shapes}.")
        gathered = {name: gather_with_grad(rows.detach()) for name, rows in given.items()}
        n = len(gathered["numbers"])
        kept = min(n, self.size)
        start = int(self.passed) + n - kept
        places = (start + torch.arange(kept, device=numbers.device)) % self.size
        for name, rows in gathered.items():
            buffer = getattr(self, f"of_{name}")
            buffer[places] = rows[n - kept :].to(buffer.dtype)
        self.passed += n


def row_numbers(x: Tensor) -> Tensor:
    """``[n]`` int64 for ``x [n, ...]``: equal rows have equal numbers, and others by chance in one of 2^64 cases.

    Whole-number arithmetic, so that a row's number does not depend on the batch that it comes in.
    """
    bits = x.detach().float().flatten(1).contiguous().view(torch.int32).long()
    factors = torch.arange(1, bits.shape[1] + 1, device=x.device) * 6364136223846793005 + 1442695040888963407
    return ((bits ^ (bits << 21)) * factors).sum(1)
