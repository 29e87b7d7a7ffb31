"""Files of a bank: each appears whole (write, fsync, rename) or not at all, and is read memory-mapped."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limbeck.data.files.unfolding import check_unfolds
from limbeck.errors import CorruptShardError, MachineError, machine_error
from limbeck.files import write_whole

METADATA_KEY = "limbeck"


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def text_name(number: int) -> str:
    return f"text-{number:05d}.parquet"


def write_hashed(path: Path, data: bytes) -> str:
    """Write ``data`` so that ``path`` holds all of it or does not exist; returns its SHA-256."""
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any] | None = None) -> str:
    """One safetensors file. Its bytes depend on ``tensors`` and ``notes`` (JSON-able) alone.

    ``notes`` go into one metadata entry: safetensors writes several entries in no fixed order.
    """
    metadata = None if notes is None else {METADATA_KEY: json.dumps(notes, sort_keys=True)}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return write_hashed(path, save(whole, metadata))


def map_tensors(path: Path, names: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    """The tensors of a file, all or ``names``, memory-mapped: nothing is read before it is used.

    Raises: CorruptShardError if the file is missing, cut or not in the format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names or file.keys()}
    except (SafetensorError, OSError) as error:
        raise corrupt(path, str(error)) from error


def read_notes(path: Path) -> dict[str, Any]:
    """What :func:`write_tensors` was given as ``notes``."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})[METADATA_KEY])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise corrupt(path, str(error)) from error


def corrupt(path: Path, why: str) -> CorruptShardError | MachineError:
    """What to raise of a file that cannot be read, inside an ``except``: errors of the machine (permission,
    descriptors, the disk) are named as such, so that nobody is told to delete a good file."""
    found = machine_error(sys.exception(), path)
    if found is not None:
        return found
    return CorruptShardError(
        f"The file {path} is not what the bank wrote ({why}); delete this file and build the bank again: "
        "only its shard is asked anew."
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_numpy(value: Tensor) -> np.ndarray:
    """The same memory as an array; bfloat16, which numpy lacks, as its 16 bits."""
    return value.view(torch.int16).numpy() if value.dtype == torch.bfloat16 else value.numpy()


def write_texts(path: Path, texts: list[str]) -> str:
    """One Parquet file with the column ``text``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), sink, compression="zstd")
    return write_hashed(path, sink.getvalue().to_pybytes())


def read_texts(path: Path) -> Any:
    """The column ``text`` as an Arrow array."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_unfolds(path, pq.read_metadata(path))
        return pq.read_table(path, columns=["text"]).column("text").combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise corrupt(path, str(error)) from error
