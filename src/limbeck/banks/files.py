"""The files that make up a bank folder: writing a shard, finishing a bank, looking at one, deleting one."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.folder.fields import HEAD_FILE, INDEX_FILE, TEXT, check_hashes
from limbeck.banks.folder.swap import drop_new, logged_costs, own_files
from limbeck.banks.key_index import KeyIndex, KeyKind, decode_keys, encode_keys
from limbeck.banks.layout import written
from limbeck.banks.manifest import BUILDER_FILE, FORMAT, LOCK_FILE, LOG_FILE, MANIFEST_FILE, Manifest
from limbeck.banks.shards import (
    corrupt,
    file_hash,
    map_tensors,
    shard_name,
    text_name,
    write_tensors,
    write_texts,
)
from limbeck.errors import BankBusyError, BankError, some
from limbeck.files import append_line, held, holder_told, refuse_links, write_whole, writing
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.signals.key import Key
from limbeck.signals.ragged import joined


@dataclass
class ShardRows:
    """The rows of one shard, as they are written or as they were read back."""

    keys: list[Key] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    digests: list[np.ndarray] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.keys)


def write_shard(
    folder: Path, number: int, rows: ShardRows, kind: KeyKind, notes: Mapping[str, Any]
) -> dict[str, str]:
    """Write one shard; returns the SHA-256 of its files by name.

    The text comes first: the shard counts as written when its safetensors file is there.
    """
    hashes = {}
    if TEXT in rows.columns:
        texts = [text for part in rows.columns[TEXT] for text in part]
        hashes[text_name(number)] = write_texts(folder / text_name(number), texts)
    tensors: dict[str, Tensor] = {}
    for name, parts in rows.columns.items():
        if name != TEXT:
            tensors |= written(name, joined(parts))
    tensors |= encode_keys(rows.keys, kind)
    tensors["labels"] = torch.tensor(rows.labels, dtype=torch.int64)
    if rows.digests:
        tensors["input_digest"] = torch.from_numpy(np.concatenate(rows.digests))
    hashes[shard_name(number)] = write_tensors(
        folder / shard_name(number),
        tensors,
        {**notes, "views": _runs(rows.views), "key_kind": kind, "counts": dict(rows.counts)},
    )
    return hashes


def read_shard_rows(folder: Path, number: int, notes: Mapping[str, Any]) -> ShardRows:
    """Keys, views, labels, input hashes and counts of a written shard."""
    path = folder / shard_name(number)
    tensors = map_tensors(path)
    try:
        keys, labels = decode_keys(tensors), tensors["labels"].tolist()
        digests = [tensors["input_digest"].numpy()] if "input_digest" in tensors else []
    except (KeyError, ValueError) as error:
        raise corrupt(path, f"{error!r}") from error
    n_views = sum(count for _, count in notes["views"])
    if {len(keys), len(labels), n_views, *map(len, digests)} != {len(keys)}:
        raise corrupt(path, "its keys, labels and views are not as many")
    views = [view for view, count in notes["views"] for _ in range(count)]
    return ShardRows(keys, views, labels, digests, counts=Counter(notes.get("counts", {})))


def _runs(views: Sequence[str]) -> list[list[Any]]:
    """Run lengths: the views of a shard in a few bytes."""
    runs: list[list[Any]] = []
    for view in views:
        if runs and runs[-1][0] == view:
            runs[-1][1] += 1
        else:
            runs.append([view, 1])
    return runs


def write_head(
    folder: Path, head: tuple[Tensor, Tensor | None] | None, form: LogitForm | None = None
) -> None:
    """Write the classifier, and what is made of its products (scale and cap, 0 = no cap); before any shard, since a
    teacher may know it only while it is asked."""
    if head is not None and not (folder / HEAD_FILE).is_file():
        weights = {"weight": head[0]} | ({} if head[1] is None else {"bias": head[1]})
        if form is not None:
            weights["form"] = torch.tensor([form.scale, form.softcap or 0.0], dtype=torch.float64)
        write_tensors(folder / HEAD_FILE, weights)


def finish(folder: Path, manifest: Manifest, rows: ShardRows, hashes: dict[str, str]) -> None:
    """Write the index and the finished manifest: from here on the folder is a bank."""
    for partial in folder.glob(".*.partial"):  # of a builder that was killed
        partial.unlink()
    index = KeyIndex.build(rows.keys, rows.views)
    tensors = dict(index.tensors)
    manifest.labelled = any(label >= 0 for label in rows.labels)
    if manifest.labelled:
        tensors["labels"] = torch.tensor(rows.labels, dtype=torch.int64)
    hashes[INDEX_FILE] = write_tensors(folder / INDEX_FILE, tensors)
    if (folder / HEAD_FILE).is_file():
        hashes[HEAD_FILE] = file_hash(folder / HEAD_FILE)
    if rows.digests:
        joined = np.concatenate(rows.digests).tobytes()
        manifest.fingerprint["inputs"] = hashlib.blake2b(joined, digest_size=16).hexdigest()
    manifest.rows, manifest.key_kind, manifest.views = len(rows), index.kind, list(index.views)
    manifest.note_files(folder, hashes)
    manifest.state = "complete"
    manifest.write(folder)


def log(folder: Path, event: str, **facts: Any) -> None:
    """Append a line to ``build.jsonl``: times and counts, which must not change the bank's bytes."""
    append_line(folder / LOG_FILE, json.dumps({"event": event, "time": round(time.time(), 3), **facts}))


def _logged(folder: Path) -> Iterator[dict[str, Any]]:
    """What the lines of ``build.jsonl`` say, as far as they can be read: the last one of a killed process cannot."""
    path = folder / LOG_FILE
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


def logged_hashes(folder: Path) -> dict[str, str]:
    """The hash of each file as it was when it was written, as far as the log got."""
    found: dict[str, str] = {}
    for entry in _logged(folder):
        hashes = entry.get("files", {})
        try:
            check_hashes("files", hashes)
        except ValueError:
            continue
        found |= hashes
    return found


def asked_in_all(folder: Path) -> dict[str, float] | None:
    """Requests, tokens and cost of a paid teacher over all runs of a build; None where none was asked."""
    found = dict.fromkeys(("requests", "tokens", "cost"), 0.0)
    asked = [entry for entry in _logged(folder) if entry.get("event") == "asked"]
    for entry in asked:
        for name in found:
            value = entry.get(name)
            found[name] += value if isinstance(value, (int, float)) else 0.0  # None: no prices were given
    return found if asked else None


@contextmanager
def builder_lock(folder: Path, wait: float | None = None) -> Iterator[None]:
    """One builder at a time; the lock of a killed builder is free at once.

    Args:
        wait: seconds to wait for another builder, ``None`` = as long as it takes, 0 = not at all.

    Raises: BankBusyError naming the process that holds the lock.
    """
    import logging

    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder / LOCK_FILE)
    lock = FileLock(folder / LOCK_FILE)
    try:
        with writing(folder / LOCK_FILE):
            lock.acquire(timeout=0)
    except Timeout:
        busy = (
            f"The bank {folder} is being built by {holder_told(folder / BUILDER_FILE) or 'another process'}"
        )
        if wait != 0:
            logging.getLogger("limbeck").warning("%s; waiting for it to finish.", busy)
        try:
            lock.acquire(timeout=-1 if wait is None else wait)
        except Timeout:
            raise BankBusyError(f"{busy}; wait for it to finish or stop it.") from None
    with held(lock, folder / BUILDER_FILE):
        yield


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds other things."""
    if folder.is_dir():
        refuse_links(*folder.iterdir())
    if folder.exists() and not folder.is_dir():
        raise BankError(f"A bank is a folder, but {folder} is a file; choose another path.")
    if folder.is_dir() and not (folder / MANIFEST_FILE).is_file():
        # a paid teacher's costs are logged before there is anything else
        others = [p.name for p in folder.iterdir() if p.name[0] != "." and p.name != LOG_FILE]
        if others:
            raise BankError(
                f"The folder {folder} holds files that are not a bank's ({some(sorted(others), 3)}); "
                "choose an empty one."
            )


def clear(folder: Path, keep_costs: bool = False) -> None:
    """Remove the files of a bank; ``bank.json`` last, so that an interrupted removal can be repeated.

    Args:
        keep_costs: keep what ``build.jsonl`` says of questions that were asked and paid.
    """
    drop_new(folder)
    costs = logged_costs(folder / LOG_FILE) if keep_costs else ""
    for path in own_files(folder):
        if costs and path.name == LOG_FILE:
            write_whole(path, costs)
        else:
            path.unlink()


def bank_info(path: str | Path) -> dict[str, Any]:
    """Facts about a bank, finished or not, JSON-able: ``bank.json`` without the list of files, and its size.

    Of the rows left out, ``missing`` gives the number by reason.

    Raises: BankError if ``path`` is no bank.
    """
    folder = Path(path)
    manifest = Manifest.read(folder)
    info = {"path": str(folder), **asdict(manifest)}
    files = info.pop("files") or [path.name for path in own_files(folder)]
    info["missing"] = {reason: len(keys) for reason, keys in manifest.missing.items()}
    info["asked"] = asked_in_all(folder)
    n_shards = sum(name.startswith("shard-") for name in files)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return info | {"shards": n_shards, "bytes": size, "head": HEAD_FILE in files}


def delete_bank(path: str | Path) -> int:
    """Delete a bank; files that are not its own stay. Returns the number of bytes freed.

    Raises: BankError if ``path`` is no bank.    BankBusyError if it is being built.
    """
    folder = Path(path)
    path = folder / MANIFEST_FILE
    if not path.is_file() or FORMAT not in path.read_text(errors="replace"):
        raise BankError(
            f"The folder {folder} is no bank (it has no {MANIFEST_FILE}), so nothing was deleted."
        )
    size = sum(file.stat().st_size for file in own_files(folder))
    with builder_lock(folder, wait=0):
        clear(folder)
    (folder / LOCK_FILE).unlink(missing_ok=True)
    left = list(folder.iterdir())
    if not left:
        folder.rmdir()
    return size
