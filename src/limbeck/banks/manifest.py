"""``bank.json``: what a bank holds, from whom, the hash of each of its files, and its own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.folder.absent import MANIFEST_FILE, no_bank
from limbeck.banks.folder.fields import DTYPES, FIELDS, check_fields, check_whole
from limbeck.errors import BankError, ConfigError, CorruptShardError, nearest
from limbeck.files import write_whole

# 2: rows of different lengths, likeliest k, whole numbers; 3: the hash of the manifest itself
FORMAT, VERSIONS = "limbeck-bank", (1, 2, 3)
LOG_FILE, LOCK_FILE, BUILDER_FILE = "build.jsonl", ".lock", ".builder.json"
_HASH = "sha256"  # the last field: of all bytes before it
_TAIL, _END = b',\n "sha256": "', b'"\n}\n'
_checked: set[bytes] = (
    set()
)  # hashes of manifests whose fields this process has looked through: 10% of an opening
_ALWAYS = FIELDS.keys() - {"notes", "missing"}  # which older banks do not have


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

    def to_bytes(self) -> bytes:
        content = asdict(self)
        try:
            check_fields(content)
            content = {"format": FORMAT, "version": VERSIONS[-1], **content}
            said = json.dumps(content, indent=1, ensure_ascii=False).removesuffix("\n}").encode()
            return said + _TAIL + hashlib.sha256(said).hexdigest().encode() + _END
        except ValueError as error:  # a teacher's names, or its fingerprint
            raise BankError(f"The bank cannot be described: {error}.") from error

    def digest(self) -> str:
        """Hash of all that it says."""
        return self.to_bytes()[-64 - len(_END) : -len(_END)].decode()

    def write(self, folder: Path) -> None:
        write_whole(folder / MANIFEST_FILE, self.to_bytes())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a bank folder; BankError if there is none, CorruptShardError if it is damaged."""
        path = os.path.join(folder, MANIFEST_FILE)
        try:
            data = _bytes_of(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise BankError(no_bank(folder)) from None
        try:
            content = json.loads(data, object_pairs_hook=_once)
            found, version = content.pop("format"), content.pop("version")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise _damaged(path, error) from error
        if found != FORMAT or type(version) is not int or version not in VERSIONS:
            raise BankError(
                f"The bank {folder} has format {found} {version}, this limbeck reads {FORMAT} 1 to {VERSIONS[-1]}; "
                "build the bank again or use the version that wrote it."
            )
        try:
            cls._check(content, version, data)
        except ValueError as error:
            raise _damaged(path, error) from error
        return cls(**content)

    @classmethod
    def _check(cls, content: dict[str, Any], version: int, data: bytes) -> None:
        """ValueError unless the content is what was written, as far as that can be told."""
        digest = b""
        if _HASH in content:
            said, _, digest = data.rpartition(_TAIL)
            if digest != hashlib.sha256(said).hexdigest().encode() + _END:
                raise ValueError("it is not what was written")
            del content[_HASH]
            if digest in _checked:
                return
        elif version == VERSIONS[-1]:
            raise ValueError("its hash is missing")
        if not _ALWAYS <= content.keys() <= FIELDS.keys():
            raise ValueError("wrong fields")
        check_fields(content)
        if content["state"] == "complete":
            check_whole(content)
        if digest:
            _checked.add(digest)

    def note_files(self, folder: Path, hashes: Mapping[str, str]) -> None:
        self.files = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": hashes[name]} for name in sorted(hashes)
        }


def _bytes_of(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _damaged(path: str, error: Exception) -> CorruptShardError:
    return CorruptShardError(f"The file {path} is damaged ({error}); build the bank with overwrite=True.")
