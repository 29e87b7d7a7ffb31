"""Files of a bank: each appears whole (write, fsync, rename) or not at all, and is read memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limbeck.banks.folder.fields import check_notes
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


def map_tensors(path: str | Path, names: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    """The tensors of a file, all or ``names``, memory-mapped: nothing is read before it is used.

    Raises: CorruptShardError if the file is missing, cut or not in the format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names or file.keys()}
    except (SafetensorError, OSError) as error:
        raise corrupt(path, str(error)) from error


def read_notes(path: Path) -> dict[str, Any]:
    """What :func:`write_tensors` was given as ``notes``, of a shard."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {})[METADATA_KEY])
        check_notes(notes)
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise corrupt(path, str(error)) from error
    return notes


def corrupt(path: str | Path, why: str) -> CorruptShardError | MachineError:
    """What to raise of a file that cannot be read, inside an ``except``: errors of the machine (permission,
    descriptors, the disk) are named as such, so that nobody is told to delete a good file."""
    found = machine_error(sys.exception(), path)
    if found is not None:
        return found
    mend = "delete this file and build the bank again" if os.path.lexists(path) else "build the bank again"
    return CorruptShardError(
        f"The file {path} is not what the bank wrote ({why}); {mend}: only its shard is asked anew."
    )


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_numpy(value: Tensor) -> np.ndarray:
    """The same memory as an array; bfloat16, which numpy lacks, as its 16 bits."""
    return value.view(torch.int16).numpy() if value.dtype == torch.bfloat16 else value.numpy()


def write_texts(path: Path, texts: list[str]) -> str:
    """One Parquet file with the column ``text``, each page with a checksum."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink, table = pa.BufferOutputStream(), pa.table({"text": pa.array(texts, pa.string())})
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return write_hashed(path, sink.getvalue().to_pybytes())


def read_texts(path: Path, sha256: str | None = None) -> Any:
    """The column ``text`` as an Arrow array.

    Args:
        sha256: what the file must have; a reader of Parquet is not shown one that was changed.

    Raises: CorruptShardError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise corrupt(path, "its bytes have changed")
        check_unfolds(path, pq.read_metadata(pa.BufferReader(content)))
        table = pq.read_table(pa.BufferReader(content), columns=["text"], page_checksum_verification=True)
        texts = table.column("text").combine_chunks()
        texts.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise corrupt(path, str(error)) from error
    if texts.null_count or texts.type != pa.string():
        raise corrupt(path, "it holds what is no text")
    return texts
