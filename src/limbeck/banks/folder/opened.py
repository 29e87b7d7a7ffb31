"""The files of a bank that is open: as they were when it was opened, and never those of another bank."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.files import builder_lock
from limbeck.banks.folder.fields import INDEX_FILE
from limbeck.banks.folder.swap import NEW, is_pending, put_in_place
from limbeck.banks.key_index import KeyIndex
from limbeck.banks.manifest import MANIFEST_FILE, Manifest
from limbeck.banks.shards import corrupt, file_hash, map_tensors, read_texts
from limbeck.errors import BankError, CorruptShardError, some
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.signals.output import Head

_State = tuple[int, int, int]


class BankFiles:
    """The files of one bank, looked at when it is opened.

    Args:
        folder: the bank's folder.    manifest: its ``bank.json``.

    Raises: CorruptShardError naming the first file that is missing or has another size.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest, self.listed = folder, manifest, manifest.files
        self._place = os.fspath(folder)  # joining texts is much faster than joining paths
        self._states = {name: self._state(name, entry) for name, entry in manifest.files.items()}

    def _state(self, name: str, entry: Mapping[str, Any]) -> _State:
        try:
            state = _state_of(os.path.join(self._place, name))
        except FileNotFoundError:
            raise corrupt(self.folder / name, "it is missing") from None
        if state[1] != entry["bytes"]:
            raise corrupt(self.folder / name, f"it has {state[1]} bytes instead of {entry['bytes']}")
        return state

    @cached_property
    def identity(self) -> str:
        """Tells the bank from another one in its folder."""
        return self.manifest.digest()

    @property
    def states(self) -> dict[str, _State]:
        """Number, size and time of every file, by name."""
        return dict(self._states)

    def map(self, name: str, tensors: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """The tensors of a file, all or some, memory-mapped.

        Raises: CorruptShardError for a damaged file.    BankError where another bank has been put in its place.
        """
        try:
            found = map_tensors(os.path.join(self._place, name), tensors)
        except CorruptShardError:
            self._check_place()
            raise
        self.check(name)
        return found

    def texts(self, name: str) -> Any:
        """The texts of a shard as an Arrow array; the whole file is read, and so its hash is compared."""
        try:
            return read_texts(self.folder / name, self.listed[name]["sha256"])
        except CorruptShardError:
            self._check_place()
            raise

    def check(self, name: str) -> None:
        """Look whether the file is still the one that was there, and where it is not, whether it has its bytes."""
        path = os.path.join(self._place, name)
        try:
            now: _State | None = _state_of(path)
        except FileNotFoundError:
            now = None
        if now == self._states[name]:
            return
        self._check_place()
        if now is None or file_hash(path) != self.listed[name]["sha256"]:
            raise corrupt(path, "it has changed since the bank was opened")
        self._states[name] = now

    def _check_place(self) -> None:
        """BankError where the folder holds another bank now."""
        try:
            same = not is_pending(self.folder) and Manifest.read(self.folder).digest() == self.identity
        except CorruptShardError:
            return
        except BankError:
            same = False
        if not same:
            raise BankError(
                f"The bank {self.folder} was overwritten or deleted while it was open; open it again (a process that "
                "goes on would mix two teachers)."
            )


def opened(folder: Path) -> tuple[Manifest, BankFiles]:
    """The manifest and the files of a bank, both of the same one, also while another process puts a new one there."""
    path = os.path.join(folder, MANIFEST_FILE)
    while True:
        before = _state_or_none(path)
        try:
            manifest = Manifest.read(folder)
            if manifest.state != "complete":
                done = len(list(folder.glob("shard-*.safetensors")))
                raise BankError(
                    f"The bank {folder} is unfinished ({done} shards written); run its build again to go on."
                )
            files = BankFiles(folder, manifest)
        except BankError:
            if not is_pending(folder) and _state_or_none(path) == before:
                raise
        else:
            if not is_pending(folder) and _state_or_none(path) == before:
                return manifest, files
        if is_pending(folder):
            _settle(folder)


def opened_index(files: BankFiles) -> KeyIndex:
    """The keys of a bank, mapped. CorruptShardError unless they are as many as its rows."""
    manifest, path = files.manifest, os.path.join(files.folder, INDEX_FILE)
    tensors = files.map(INDEX_FILE)
    rows = manifest.rows or 0
    wanted = {"codes": torch.int64, "rows": torch.int64}
    wanted |= {"keys": torch.int64} if manifest.key_kind == "int" else {"keys.ends": torch.int64}
    wanted |= {"view": torch.int16} if len(manifest.views) > 1 else {}
    wanted |= {"labels": torch.int64} if manifest.labelled else {}
    texts = set() if manifest.key_kind == "int" else {"keys.text"}
    if set(tensors) != {*wanted, *texts}:
        raise corrupt(path, f"it holds {some(sorted(tensors))}")
    for name, dtype in wanted.items():
        if tensors[name].dtype != dtype or tensors[name].shape != (rows,):
            raise corrupt(
                path, f"{name!r} is {list(tensors[name].shape)} for the {rows:,} rows of {MANIFEST_FILE}"
            )
    if texts and (tensors["keys.text"].dtype, tensors["keys.text"].dim()) != (torch.uint8, 1):
        raise corrupt(path, "'keys.text' is no text")
    return KeyIndex(manifest.key_kind, manifest.views, tensors)  # type: ignore[arg-type]


def classifier(path: Path, tensors: Mapping[str, Tensor]) -> Head:
    """Weight ``[C, D]`` and bias ``[C]`` or None. CorruptShardError for other tensors."""
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or len(tensors) != 1 + (bias is not None) + ("form" in tensors):
        raise corrupt(path, f"it holds {some(sorted(tensors))}")
    return weight, bias


def logit_form(path: Path, tensors: Mapping[str, Tensor]) -> LogitForm | None:
    """What is made of the classifier's products, if anything. CorruptShardError for what is no scale and cap."""
    if (told := tensors.get("form")) is None:
        return None
    scale, cap = told.tolist() if told.shape == (2,) else (0.0, 0.0)
    if not (0 < scale < math.inf and 0 <= cap < math.inf):
        raise corrupt(path, "its form is no scale and cap")
    return LogitForm(scale, cap or None)


def _settle(folder: Path) -> None:
    """Put in place what a killed process left pending; BankError where that is not possible."""
    try:
        with builder_lock(folder, wait=60.0):
            put_in_place(folder)
    except OSError as error:
        raise BankError(
            f"The bank {folder} was overwritten and its new files wait in {folder / NEW} to be put in place, which "
            f"fails ({error.strerror}); open it once where it may be written."
        ) from error


def _state_of(path: str | os.PathLike[str]) -> _State:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _state_or_none(path: str) -> _State | None:
    try:
        return _state_of(path)
    except OSError:
        return None
