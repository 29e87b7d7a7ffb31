"""``bank.json``: what a bank holds, from whom, and the hash of each of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.layout import is_plain
from limbeck.banks.shards import corrupt
from limbeck.errors import BankError, ConfigError, CorruptShardError, nearest
from limbeck.files import write_whole

FORMAT, VERSIONS = "limbeck-bank", (1, 2)  # 2: rows of different lengths, likeliest k, whole numbers
MANIFEST_FILE = "bank.json"
INDEX_FILE, HEAD_FILE, LOG_FILE, LOCK_FILE = "index.safetensors", "head.safetensors", "build.jsonl", ".lock"
_FORMAT_1 = ("features", "logits", "log_probs", "text")
_LATER = {"notes", "missing"}  # fields that older banks do not have
BUILDER_FILE = ".builder.json"
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def dtype_name(dtype: str | torch.dtype) -> str:
    """``float16``, ``bfloat16`` or ``float32``; ConfigError for any other."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(
            f"A bank stores float16, bfloat16 or float32, not {name!r}; {nearest(name, DTYPES)}"
        )
    return name


@dataclass
class Manifest:
    """The content of ``bank.json``. It holds no times and no costs: the same build gives the same bytes.

    Args:
        state: ``building`` or ``complete``.
        rows: number of rows; ``None`` while a stream of unknown length is read.
        shard_rows: rows of every shard but the last.
        key_kind: ``int`` or ``str``; ``None`` before the first row.    views: all view names.
        dtype: of all stored signals but whole numbers in rows of different lengths, which keep theirs.
        signals: column name to ``{"shape": [...], "teacher_dtype": ...}``, see :func:`limbeck.banks.layout.entry_of`;
            text to ``{}``.
        labelled: rows carry labels.    class_names: label and logit names, in index order.
        access: what the teacher gives (``weights``, ``logits``, ``features``, ``text``).
        fingerprint: named parts, hashes.    licence: what the teacher's owner allows, in words.
        notes: what the teacher says of how its answers came about (``teacher.notes``), JSON-able.
        missing: why rows were left out (refused, no usable answer) to their keys.
        files: file name to ``{"bytes": size, "sha256": hash}``.
    """

    shard_rows: int
    dtype: str
    state: str = "building"
    rows: int | None = None
    key_kind: str | None = None
    views: list[str] = field(default_factory=list)
    signals: dict[str, dict[str, Any]] = field(default_factory=dict)
    labelled: bool = False
    class_names: list[str] | None = None
    access: str | None = None
    fingerprint: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, list[Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The oldest format that can say it, so that the same signals give the bytes that they always gave."""
        known = [name in _FORMAT_1 or name.startswith("hidden_states.") for name in self.signals]
        return 1 if all(known) and all(map(is_plain, self.signals.values())) else 2

    def to_bytes(self) -> bytes:
        content = {"format": FORMAT, "version": self.version, **asdict(self)}
        return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()

    def write(self, folder: Path) -> None:
        write_whole(folder / MANIFEST_FILE, self.to_bytes())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a bank folder; BankError if there is none, CorruptShardError if it is damaged."""
        path = folder / MANIFEST_FILE
        if not path.is_file():
            raise BankError(_no_bank(folder))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found, version = content.pop("format"), content.pop("version")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CorruptShardError(
                f"The file {path} is damaged ({error}); build the bank with overwrite=True."
            ) from error
        if found != FORMAT or version not in VERSIONS:
            raise BankError(
                f"The bank {folder} has format {found} {version}, this limbeck reads {FORMAT} 1 to {VERSIONS[-1]}; "
                "build the bank again or use the version that wrote it."
            )
        known = {f.name for f in fields(cls)}
        if not known - _LATER <= set(content) <= known:
            raise CorruptShardError(
                f"The file {path} is damaged (wrong fields); build the bank with overwrite=True."
            )
        return cls(**content)

    def check_files(self, folder: Path) -> None:
        """Raise CorruptShardError naming the first file that is missing or has another size."""
        for name, entry in self.files.items():
            path = folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != entry["bytes"]:
                why = "it is missing" if size is None else f"it has {size} bytes instead of {entry['bytes']}"
                raise corrupt(path, why)

    def note_files(self, folder: Path, hashes: Mapping[str, str]) -> None:
        self.files = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": hashes[name]} for name in sorted(hashes)
        }


def _no_bank(folder: Path) -> str:
    if not folder.is_dir():
        near = (
            sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST_FILE}"))
            if folder.parent.is_dir()
            else []
        )
        hint = f"{nearest(folder.name, near)}" if near else "check the path, or build it with Bank.build."
        return f"There is no bank at {folder}; {hint}"
    return f"The folder {folder} is no bank: it has no {MANIFEST_FILE}."
