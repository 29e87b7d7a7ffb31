"""A file of embeddings is a teacher too: a bank of arrays that exist already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.columns import check_labels, columns_of, schema_of, to_stored
from limbeck.banks.files import (
    ShardRows,
    builder_lock,
    check_folder,
    clear,
    finish,
    log,
    write_head,
    write_shard,
)
from limbeck.banks.folder.fields import DTYPES, TEXT
from limbeck.banks.folder.opened import BankFiles
from limbeck.banks.folder.swap import beside, put_in_place, tidy
from limbeck.banks.folder.verifying import check_hashes, is_verifying
from limbeck.banks.key_index import DEFAULT_VIEW, kind_of, plain_keys
from limbeck.banks.layout import entry_of, width_of
from limbeck.banks.manifest import MANIFEST_FILE, Manifest, dtype_name
from limbeck.banks.shards import read_texts
from limbeck.errors import BankError, ClassNamesError, CorruptShardError, DataError, LimbeckError, some
from limbeck.signals.cells import is_nothing
from limbeck.signals.classes import UNLABELLED, refuse_twice
from limbeck.signals.key import Key
from limbeck.signals.output import ACCESS_OF_SIGNAL, SIGNALS, AccessLevel, Head, TeacherOutput, as_signal
from limbeck.signals.ragged import Signal, parts_of, rows_of
from limbeck.signals.tensors import tensor_of

_SHARD_ROWS, _SHARD_BYTES = 65536, 2**28


def write_arrays(
    path: str | Path,
    *,
    keys: Iterable[Any],
    features: Any = None,
    logits: Any = None,
    log_probs: Any = None,
    tokens: Any = None,
    boxes: Any = None,
    box_labels: Any = None,
    box_scores: Any = None,
    prediction: Any = None,
    hidden_states: Mapping[str, Any] | None = None,
    text: Sequence[str] | None = None,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    head: tuple[Any, Any] | None = None,
    views: Sequence[str] | None = None,
    dtype: str | torch.dtype | None = None,
    licence: str = "",
    fingerprint: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a bank at ``path`` of arrays or tensors; where the same bank is there already, nothing is written.

    Instead of ``[N, ...]`` a signal may be N arrays of different lengths, a Ragged, or (``log_probs``) a TopK.

    Args:
        keys: N unique integers or strings (unique with their view, if ``views`` are given).
        features: ``[N, D]``.    logits: ``[N, C]``.    log_probs: ``[N, C]``, natural logarithm.
        tokens: a Ragged of TopK.    boxes: N arrays ``[l_i, 4]``.    box_labels, box_scores: N arrays ``[l_i]``.
        prediction: ``[N, ...]``.
        hidden_states: layer name to ``[N, ...]``.    text: N strings.
        labels: ``[N]`` class numbers (-100 = unknown), or names out of ``class_names``.
        class_names: names of the classes in the order of labels and logits.
        head: the teacher's classifier, ``(weight [C, D], bias [C] or None)``.
        views: ``N`` names, which view of its sample each row is.
        dtype: ``float16``, ``bfloat16`` or ``float32``; default that of the first signal (float32 for
            others). Whole numbers in rows of different lengths keep theirs.
        licence: what the owner of the arrays allows.    fingerprint: named parts to check on opening.
        overwrite: replace another bank at ``path``.

    Raises:
        DataError: no rows, lengths that differ, labels out of range.    BankError: a key comes twice; another
        bank is at ``path``.    NonFiniteError: NaN, Inf or a value beyond ``dtype``, named by key.
    """
    keys = plain_keys(keys)
    if not keys:
        raise DataError("A bank needs at least one row; keys is empty.")
    given = {
        "features": features,
        "logits": logits,
        "log_probs": log_probs,
        "tokens": tokens,
        "boxes": boxes,
        "box_labels": box_labels,
        "box_scores": box_scores,
        "prediction": prediction,
        "text": text,
    }
    said = {name: as_signal(name, value) for name, value in given.items() if value is not None}
    output = TeacherOutput(**said, hidden_states=as_signal("hidden_states", hidden_states or {}))
    columns = _columns(output, keys)
    refuse_twice(class_names or ())
    numbers = _labels(labels, class_names, keys)
    _check_lengths(keys, labels=numbers, views=views)
    _check_classes(columns, class_names)
    rows = ShardRows(list(keys), list(views or [DEFAULT_VIEW] * len(keys)), numbers)
    manifest = Manifest(
        shard_rows=rows_a_shard(columns, dtype),
        dtype=_dtype(columns, dtype),
        class_names=None if class_names is None else list(class_names),
        access=_access(output, head),
        fingerprint=dict(fingerprint or {}),
        licence=licence,
    )
    classifier = (
        None if head is None else (tensor_of(head[0], "head's weights"), _tensor(head[1], "head's bias"))
    )
    _place(Path(path), _Contents(manifest, rows, columns, classifier), overwrite)


@dataclass(frozen=True)
class _Contents:
    """All that a bank of arrays holds."""

    manifest: Manifest
    rows: ShardRows
    columns: Mapping[str, Any]
    head: Head | None

    def write(self, folder: Path) -> None:
        manifest, rows, size = replace(self.manifest), self.rows, self.manifest.shard_rows
        schema, kind = schema_of(self.columns), kind_of(rows.keys)
        hashes: dict[str, str] = {}
        manifest.write(folder)
        write_head(folder, self.head)
        for number, start in enumerate(range(0, len(rows), size)):
            span = slice(start, start + size)
            cut = {n: v[span] if n == TEXT else rows_of(v, span) for n, v in self.columns.items()}
            stored = to_stored(cut, DTYPES[manifest.dtype], rows.keys[span])
            part = ShardRows(
                rows.keys[span],
                rows.views[span],
                rows.labels[span],
                columns={name: [value] for name, value in stored.items()},
            )
            hashes |= write_shard(folder, number, part, kind, {"schema": schema})
        manifest.signals = schema
        finish(folder, manifest, rows, hashes)
        log(folder, "complete", rows=len(rows))


def _tensor(value: Any, what: str) -> Tensor | None:
    return None if value is None else tensor_of(value, what)


def _columns(output: TeacherOutput, keys: list[Key]) -> dict[str, Any]:
    if not len(output) and not output.signals:
        raise DataError("Give at least one of features, logits, log_probs, hidden_states, text.")
    plain = {name: getattr(output, name) for name in SIGNALS if name != "hidden_states"}
    hidden = {f"hidden_states[{layer!r}]": value for layer, value in output.hidden_states.items()}
    _check_lengths(keys, **plain, **hidden)
    return columns_of(output, keys)


def _check_lengths(keys: Sequence[Key], **arrays: Any) -> None:
    wrong = [
        f"{name} has {len(a)} rows" for name, a in arrays.items() if a is not None and len(a) != len(keys)
    ]
    if wrong:
        raise DataError(
            f"There are {len(keys)} keys, but {', '.join(wrong)}; every array needs a row for each key."
        )


def _labels(labels: Any, class_names: Sequence[str] | None, keys: list[Key]) -> list[int]:
    if labels is None:
        return [UNLABELLED] * len(keys)
    listed = [
        UNLABELLED if is_nothing(c) else c for c in (labels.tolist() if hasattr(labels, "tolist") else labels)
    ]
    if any(isinstance(label, str) for label in listed):
        number: dict[Any, int] = {name: i for i, name in enumerate(class_names or ())}
        number[UNLABELLED] = UNLABELLED
        unknown = [label for label in dict.fromkeys(listed) if label not in number]
        if unknown:
            raise ClassNamesError(
                f"Labels are no class names: {some(unknown)}; pass class_names= that hold them."
            )
        return [number[label] for label in listed]
    if wrong := [label for label in listed if not float(label).is_integer()]:
        raise DataError(f"Labels must be class numbers or names; some are not: {some(wrong)}.")
    check_labels(listed, None if class_names is None else len(class_names), keys)
    return [int(c) for c in listed]


def _check_classes(columns: Mapping[str, Any], class_names: Sequence[str] | None) -> None:
    for name in ("logits", "log_probs"):
        width = width_of(entry_of(columns[name])) if name in columns else None
        if width is not None and class_names is not None and width != len(class_names):
            raise ClassNamesError(
                f"The {name} have {width} columns for {len(class_names)} class names; "
                "pass one name for each column, in order."
            )


def _dtype(columns: Mapping[str, Any], dtype: str | torch.dtype | None) -> str:
    if dtype is not None:
        return dtype_name(dtype)
    given = [parts_of(value)[""].dtype for name, value in columns.items() if name != TEXT]
    return dtype_name(given[0]) if given and given[0] in DTYPES.values() else "float32"


def rows_a_shard(columns: Mapping[str, Any], dtype: str | torch.dtype | None) -> int:
    """As many rows as fit into a quarter of a gigabyte: few shards make fast look-ups."""
    size = DTYPES[_dtype(columns, dtype)].itemsize
    width = sum(_numbers_a_row(value) for name, value in columns.items() if name != TEXT)
    return max(1, min(_SHARD_ROWS, _SHARD_BYTES // max(1, width * size)))


def _numbers_a_row(value: Signal) -> int:
    """Numbers in a row; in the mean row, where they have different lengths."""
    return -(-sum(part.numel() for part in parts_of(value).values()) // max(1, len(value)))


def _access(output: TeacherOutput, head: Any) -> AccessLevel:
    if head is not None or output.hidden_states:
        return "weights"
    if any(ACCESS_OF_SIGNAL[name] == "logits" for name in output.signals - {"labels"}):
        return "logits"
    return "features" if {"features", "prediction"} & output.signals else "text"


def _place(folder: Path, contents: _Contents, overwrite: bool) -> None:
    check_folder(folder)
    with builder_lock(folder):
        put_in_place(folder)
        if not (folder / MANIFEST_FILE).is_file():
            _write_first(folder, contents)
        elif overwrite:
            with beside(folder) as new:
                contents.write(new)
        else:
            _check_same(folder, contents)
        tidy(folder)


def _write_first(folder: Path, contents: _Contents) -> None:
    try:
        contents.write(folder)
    except LimbeckError:  # nothing is lost: the arrays are still there
        clear(folder)
        raise


def _check_same(folder: Path, contents: _Contents) -> None:
    """BankError unless the bank that is there is what these arrays give; it is mended where files are damaged, and
    begun again where writing it was interrupted."""
    found = Manifest.read(folder)
    if found.state != "complete" and found == contents.manifest:
        clear(folder)
        _write_first(folder, contents)
        return
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        contents.write(Path(aside))
        other = replace(Manifest.read(Path(aside)), files={})
        if replace(found, files={}) != other or _has_other_files(folder, found, Path(aside)):
            raise BankError(
                f"Another bank is at {folder}; choose another path, or pass overwrite=True (--overwrite) to replace it."
            )
    if not _is_whole(folder, found):
        with beside(folder) as new:
            contents.write(new)


def _has_other_files(folder: Path, found: Manifest, aside: Path) -> bool:
    """Whether ``found`` lists files with other content. The bytes of Parquet differ from one pyarrow to the next, so
    that of texts the texts count."""
    wanted = Manifest.read(aside).files
    if found.files.keys() != wanted.keys():
        return True
    differing = [name for name in wanted if found.files[name]["sha256"] != wanted[name]["sha256"]]
    if any(not name.endswith(".parquet") for name in differing):
        return True
    return any(not read_texts(folder / name).equals(read_texts(aside / name)) for name in differing)


def _is_whole(folder: Path, found: Manifest) -> bool:
    try:
        files = BankFiles(folder, found)
        if is_verifying():
            check_hashes(files)
    except CorruptShardError:
        return False
    return True
