"""What each field of ``bank.json`` may hold, and what fields say of each other: the one schema of it.

Every function raises ValueError in words that end the sentence "The file bank.json is damaged: ...".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from limbeck.errors import some
from limbeck.signals.output import ACCESS_OF_SIGNAL, SIGNALS

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
INDEX_FILE, HEAD_FILE = "index.safetensors", "head.safetensors"
HIDDEN, TEXT = "hidden_states.", "text"  # prefix of a layer's name among the columns; the column of texts
_MOST = 2**40  # rows, sizes: far beyond any bank, and small enough to multiply
_TEACHER_DTYPES = {*DTYPES, "float64", "bool", "uint8", *(f"int{n}" for n in (8, 16, 32, 64))}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBERED = re.compile(r"(?:shard-\d{5,}\.safetensors|text-\d{5,}\.parquet)")


def check_fields(content: Mapping[str, Any]) -> None:
    """ValueError unless every field that is there has its type, its range and its names."""
    for name, value in content.items():
        FIELDS[name](name, value)


def check_whole(content: Mapping[str, Any]) -> None:
    """ValueError unless the fields of a finished bank fit each other: rows, shards and files."""
    rows, files, has_text = content["rows"], content["files"], TEXT in content["signals"]
    if not rows or content["key_kind"] is None or not content["views"] or not content["signals"]:
        raise ValueError("it says that the bank is complete, and not what it holds")
    n_shards = -(-rows // content["shard_rows"])
    wanted = n_shards * (1 + has_text) + 1 + (HEAD_FILE in files)
    if len(files) != wanted or not _expected(n_shards, has_text) <= set(files):
        raise ValueError(
            f"{rows:,} rows, {content['shard_rows']:,} a shard, do not lie in the {len(files)} files that it lists"
        )


def _expected(n_shards: int, has_text: bool) -> set[str]:
    names = {f"shard-{number:05d}.safetensors" for number in range(n_shards)}
    return names | {INDEX_FILE} | ({f"text-{n:05d}.parquet" for n in range(n_shards)} if has_text else set())


# ---- one field -------------------------------------------------------------------------------------------------


def check_signals(name: str, value: Any) -> None:
    """Columns by name, as :func:`limbeck.banks.layout.entry_of` describes them."""
    for column, entry in _mapping(name, value).items():
        known = column in SIGNALS and column != "hidden_states"
        if not known and not (column.startswith(HIDDEN) and len(column) > len(HIDDEN)):
            raise ValueError(f"{name} names {column!r}, which is no signal")
        _text(name, column)
        _mapping(f"{name}.{column}", entry)
        if column == TEXT:
            if entry:
                raise ValueError(f"{name}.{column} has sizes")
            continue
        if not {"shape", "teacher_dtype"} <= set(entry) <= {"shape", "teacher_dtype", "n_classes", "ragged"}:
            raise ValueError(f"{name}.{column} has wrong fields ({some(sorted(entry))})")
        if not isinstance(entry["shape"], list):
            raise ValueError(f"{name}.{column}.shape is no list")
        for size in entry["shape"]:
            _number(0)(f"{name}.{column}.shape", size)
        if entry["teacher_dtype"] not in _TEACHER_DTYPES:
            raise ValueError(f"{name}.{column}.teacher_dtype is {entry['teacher_dtype']!r}")
        if "n_classes" in entry:
            _number(1)(f"{name}.{column}.n_classes", entry["n_classes"])
        if entry.get("ragged", True) is not True:
            raise ValueError(f"{name}.{column}.ragged is {entry['ragged']!r}")


def check_notes(notes: Any) -> None:
    """ValueError unless these are the notes of a shard: its columns, runs of views, the kind of its keys, counts."""
    for name in ("schema", "views", "key_kind"):
        if name not in _mapping("the notes", notes):
            raise ValueError(f"its notes have no {name}")
    check_signals("schema", notes["schema"])
    _one_of("int", "str")("key_kind", notes["key_kind"])
    if not isinstance(notes["views"], list):
        raise ValueError("views is no list")
    for run in notes["views"]:
        if not isinstance(run, list) or len(run) != 2:
            raise ValueError("views holds what is no run")
        _text("views", run[0])
        _number(1)("views", run[1])
    for what, count in _mapping("counts", notes.get("counts", {})).items():
        _number(0)(f"counts.{what}", count)


def check_hashes(name: str, value: Any) -> None:
    """File names of a bank's own folder to their SHA-256."""
    for file, digest in _mapping(name, value).items():
        if not (file in (INDEX_FILE, HEAD_FILE) or _NUMBERED.fullmatch(file)):
            raise ValueError(f"{name} lists {file!r}, which is no file of a bank")
        if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
            raise ValueError(f"{name}.{file} has no SHA-256")


def _files(name: str, value: Any) -> None:
    for file, entry in _mapping(name, value).items():
        if set(_mapping(f"{name}.{file}", entry)) != {"bytes", "sha256"}:
            raise ValueError(f"{name}.{file} has wrong fields ({some(sorted(entry))})")
        _number(0)(f"{name}.{file}.bytes", entry["bytes"])
    check_hashes(name, {file: entry["sha256"] for file, entry in value.items()})


def _missing(name: str, value: Any) -> None:
    for reason, keys in _mapping(name, value).items():
        if not isinstance(keys, list) or not all(type(key) in (int, str) for key in keys):
            raise ValueError(f"{name}.{reason} is no list of keys")


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)}, no mapping")
    return value


def _texts_by_name(name: str, value: Any) -> None:
    for part, text in _mapping(name, value).items():
        _text(f"{name}.{part}", text)


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds what is no character") from None


def _names(name: str, value: Any) -> None:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {_shown(value)}, no list")
    for entry in value:
        _text(name, entry)
    if len(set(value)) < len(value):
        raise ValueError(f"{name} has a name twice")


def _number(least: int) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if type(value) is not int or not least <= value <= _MOST:
            raise ValueError(f"{name} is {_shown(value)}, no whole number from {least} to 2^40")

    return check


def _one_of(*values: Any) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not any(value is known or (type(value) is str and value == known) for known in values):
            raise ValueError(f"{name} is {_shown(value)}")

    return check


def _or_none(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    return lambda name, value: None if value is None else check(name, value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


FIELDS: Mapping[str, Callable[[str, Any], Any]] = {
    "shard_rows": _number(1),
    "dtype": _one_of(*DTYPES),
    "state": _one_of("building", "complete"),
    "rows": _or_none(_number(1)),
    "key_kind": _one_of("int", "str", None),
    "views": _names,
    "signals": check_signals,
    "labelled": _one_of(True, False),
    "class_names": _or_none(_names),
    "access": _one_of(None, *dict.fromkeys(ACCESS_OF_SIGNAL.values()), "weights"),
    "fingerprint": _texts_by_name,
    "licence": _text,
    "notes": _mapping,
    "missing": _missing,
    "files": _files,
}
