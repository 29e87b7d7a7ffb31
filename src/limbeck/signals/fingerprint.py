"""Content hashes of teachers, settings and inputs, in named parts, so that a mismatch says which part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from limbeck.errors import DataError, StaleFingerprintError, UnreadableRowsError
from limbeck.signals.content import SIZE, content_bytes, tensor_digest


def module_fingerprint(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers by name: equal models, equal hash, on any device."""
    return state_fingerprint(module.state_dict(keep_vars=True))


def state_fingerprint(state: Mapping[str, Any]) -> str:
    """Hash of parameters and buffers by name."""
    digest = hashlib.blake2b(digest_size=SIZE)
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor):
            digest.update(name.encode())
            digest.update(tensor_digest(value))
    return digest.hexdigest()


def settings_fingerprint(settings: Any) -> str:
    """Hash of JSON-able settings; the order of names in a mapping does not matter."""
    return hashlib.blake2b(
        json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=SIZE
    ).hexdigest()


def input_digests(inputs: Mapping[str, Any], n_rows: int) -> np.ndarray:
    """One digest for the inputs of each row, ``[n, 16]`` uint8.

    Args:
        inputs: column name to a tensor ``[n, ...]`` or to ``n`` values (see :mod:`limbeck.signals.content`).

    Raises: UnreadableRowsError for a picture or file that cannot be read.
    """
    digests = [hashlib.blake2b(digest_size=SIZE) for _ in range(n_rows)]
    for name in sorted(inputs):
        rows = iter(zip(digests, inputs[name]))
        try:
            for digest, value in rows:
                digest.update(name.encode())
                digest.update(content_bytes(value))
        except (DataError, OSError) as error:
            row = n_rows - 1 - sum(1 for _ in rows)
            raise UnreadableRowsError(f"In the column {name!r} {error}.", [row]) from error
    joined = b"".join(digest.digest() for digest in digests)
    return np.frombuffer(joined, dtype=np.uint8).reshape(n_rows, SIZE).copy()


def check_fingerprint(recorded: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Raise StaleFingerprintError naming the parts of ``now`` that are not what ``recorded`` holds.

    Parts that only ``recorded`` has (the inputs, for a teacher asked alone) are not compared.
    """
    changed = [part for part in now if recorded.get(part) != now[part]]
    if changed:
        raise stale(where, changed)


def stale(where: str, parts: Sequence[str], detail: str = "") -> StaleFingerprintError:
    """The error for a bank whose ``parts`` are not those of now."""
    named = " and ".join(repr(part) for part in parts)
    return StaleFingerprintError(
        f"The bank {where} was built with other {named}{f' ({detail})' if detail else ''}; build into "
        "another folder, or pass overwrite=True to ask the teacher again."
    )
