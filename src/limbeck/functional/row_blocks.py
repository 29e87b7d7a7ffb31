"""A teacher too large for one tensor: a callable that yields its rows block by block, anew at each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

Blocks = Callable[[], Iterable[Tensor]]
