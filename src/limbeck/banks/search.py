"""Finding numbers in a sorted array that is mapped from a file."""

from __future__ import annotations

import numpy as np

_MOST_STEPS = 8  # more halvings than this, and numpy's own binary search is faster


class SortedSearch:
    """Places of int64 numbers in a sorted array without repeats.

    A binary search of a million numbers touches twenty far-apart places for each; on random look-ups from a
    mapped file that waiting is most of the time. A table of where each stretch of numbers starts (half a byte to
    a byte for each number, made at the first search) leaves a few neighbours to look at.

    Args:
        numbers: ``[N]`` int64, ascending, N > 0.
    """

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers, self._last = numbers, len(numbers) - 1
        self._first, span = int(numbers[0]), int(numbers[-1]) - int(numbers[0])
        self._has_no_gap = span == self._last
        self._shift = max(0, span.bit_length() - max(0, len(numbers).bit_length() - 3))
        self._n_stretches = (span >> self._shift) + 1
        self._starts: np.ndarray | None = None
        self._n_steps = 0

    def __call__(self, wanted: np.ndarray) -> np.ndarray:
        """The place of each wanted number ``[n]``; any place at all for a number that is not there."""
        if self._has_no_gap:
            return np.clip(wanted, self._first, self._first + self._last) - self._first
        if self._starts is None:
            self._starts = self._make_starts()
            self._n_steps = int(np.diff(self._starts).max()).bit_length()
        if self._n_steps > _MOST_STEPS:
            return np.minimum(np.searchsorted(self._numbers, wanted), self._last)
        # unsigned, since two int64 can be further apart than an int64 can say
        offset = (wanted.view(np.uint64) - self._unsigned_first) >> np.uint64(self._shift)
        stretch = np.minimum(offset, np.uint64(self._n_stretches - 1)).astype(np.int64)
        low, high = self._starts[stretch].astype(np.int64), self._starts[stretch + 1].astype(np.int64)
        for _ in range(self._n_steps):
            middle = (low + high) >> 1
            is_less = (self._numbers[np.minimum(middle, self._last)] < wanted) & (low < high)
            low = np.where(is_less, middle + 1, low)
            high = np.where(is_less, high, middle)
        return np.minimum(low, self._last)

    @property
    def _unsigned_first(self) -> np.uint64:
        return np.uint64(self._first % 2**64)

    def _make_starts(self) -> np.ndarray:
        stretches = np.arange(self._n_stretches, dtype=np.uint64) << np.uint64(self._shift)
        edges = (stretches + self._unsigned_first).view(np.int64)
        starts = np.append(np.searchsorted(self._numbers, edges), len(self._numbers))
        return starts.astype(np.int32 if len(self._numbers) < 2**31 else np.int64)
