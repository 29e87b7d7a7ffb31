"""Random generators keyed by what they are for, so that no draw of ours holds state.

A draw that depends only on its key (run seed, step, sample, view) is the same after a resume, on another
rank or in another micro-batch.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from limbeck.errors import ConfigError

if TYPE_CHECKING:
    import torch


LARGEST_SEED = 2**32 - 1  # numpy takes no larger one


def check_seed(value: object, where: str) -> None:
    """Refuse what is no seed; ConfigError that says ``where`` it stands."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SEED:
        raise ConfigError(f"{where} must be a whole number in [0, {LARGEST_SEED:,}]; it is {value!r}.")


def keyed_seed(*parts: object) -> int:
    """A 63-bit seed from any parts with a stable ``repr`` (numbers, strings, tuples of these)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed_generator(*parts: object) -> torch.Generator:
    """A fresh CPU generator seeded by :func:`keyed_seed`."""
    import torch

    return torch.Generator().manual_seed(keyed_seed(*parts))
