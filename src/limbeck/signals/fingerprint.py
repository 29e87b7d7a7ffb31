"""Content hashes of teachers, settings and inputs, in named parts, so that a mismatch says which part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.errors import StaleFingerprintError

_SIZE = 16  # bytes of a digest


def tensor_digest(value: Tensor) -> bytes:
    """Digest of type, shape and content."""
    value = value.detach().cpu().contiguous()
    digest = hashlib.blake2b(f"{value.dtype}{tuple(value.shape)}".encode(), digest_size=_SIZE)
    if value.numel():
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def module_fingerprint(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers by name: equal models, equal hash, on any device."""
    return state_fingerprint(module.state_dict(keep_vars=True))


def state_fingerprint(state: Mapping[str, Any]) -> str:
    """Hash of parameters and buffers by name."""
    digest = hashlib.blake2b(digest_size=_SIZE)
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor):
            digest.update(name.encode())
            digest.update(tensor_digest(value))
    return digest.hexdigest()


def settings_fingerprint(settings: Any) -> str:
    """Hash of JSON-able settings; the order of names in a mapping does not matter."""
    return hashlib.blake2b(
        json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=_SIZE
    ).hexdigest()


def input_digests(inputs: Mapping[str, Any], n_rows: int) -> np.ndarray:
    """One digest for the inputs of each row, ``[n, 16]`` uint8.

    Args:
        inputs: column name to a tensor ``[n, ...]`` or to ``n`` values (strings, tensors, JSON-able).
    """
    digests = [hashlib.blake2b(digest_size=_SIZE) for _ in range(n_rows)]
    for name in sorted(inputs):
        for digest, value in zip(digests, inputs[name]):
            digest.update(name.encode())
            digest.update(_value_bytes(value))
    joined = b"".join(digest.digest() for digest in digests)
    return np.frombuffer(joined, dtype=np.uint8).reshape(n_rows, _SIZE).copy()


def _value_bytes(value: Any) -> bytes:
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".encode() + value.tobytes()
    if isinstance(value, bytes):
        return value
    if isinstance(value, Mapping):
        return _mapping_bytes(value)
    if type(value).__module__.startswith("PIL."):  # its repr holds an address
        return f"{value.mode}{value.size}".encode() + value.tobytes()
    return json.dumps(value, sort_keys=True, default=repr).encode()


def _mapping_bytes(value: Mapping[str, Any]) -> bytes:
    """A file of a data set (``bytes`` or ``path``) by its content, wherever it lies; of others every entry."""
    if set(value) == {"bytes", "path"} and value["bytes"] is not None:
        return value["bytes"]
    if set(value) <= {"bytes", "path"} and value.get("path") and Path(value["path"]).is_file():
        return Path(value["path"]).read_bytes()
    return b"".join(str(name).encode() + _value_bytes(value[name]) for name in sorted(value, key=str))


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
