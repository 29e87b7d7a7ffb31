"""What ``student.json`` and ``preprocessor.json`` of an exported student may hold."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import DataError, LimbeckError
from limbeck.problems.registry import problem
from limbeck.students.export.pooled import POOLED
from limbeck.students.export.program import PROGRAM, check_input
from limbeck.students.export.strict_json import read_object
from limbeck.students.foreign import is_own_file
from limbeck.students.pretrained import TASKS

INFO, PREPROCESSOR = "student.json", "preprocessor.json"
FORMAT = 3
# 1 held plain models as a program of torch.export, which only torch's own loader reads; 1 and 2 hash weights alone
FORMATS = (1, 2, 3)
FIRST_WHOLE = 3  # whose hashes are those of all files, student.json too
SUBFOLDERS = ("1_Pooling", "2_Dense")  # of sentence-transformers, which keeps parts of a model so
AUTO_CLASSES = tuple(f"AutoModelFor{task}" for task in TASKS)
WRITER = "AutoModelForCausalLM"  # which opens all students that write, and no others
_JSON_BYTES = 64 * 2**20
_OLD = "torch.export"


def read_info(folder: Path) -> dict[str, Any]:
    """``student.json``, checked; DataError for what an export cannot have written."""
    path = folder / INFO
    if not path.is_file():
        what = f"it holds no {INFO}" if folder.is_dir() else "there is no folder of this name; check the path"
        raise DataError(f"{folder} is no exported student: {what}.")
    info = read_object(path, largest=_JSON_BYTES)
    kind = info.get("format")
    if type(kind) is not int or kind not in FORMATS:
        raise DataError(f"{folder} is of format {kind!r}, this limbeck reads {FORMAT}; update limbeck.")
    if info.get("loads_with") == _OLD:
        raise DataError(
            f"{folder} holds its model as student.pt2, which limbeck no longer opens, as a tampered one runs code "
            "in torch's loader; export the student again from the model."
        )
    info.setdefault("problem", "classification")
    try:
        _check(info, folder)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not as limbeck wrote it ({error}); export the student again.") from error
    return info


def _check(info: Mapping[str, Any], folder: Path) -> None:
    if info.get("loads_with") not in (PROGRAM, POOLED, *AUTO_CLASSES):
        raise ValueError(f"loads_with is {info.get('loads_with')!r}")
    check_class_names(info.get("class_names"))
    try:
        asked = problem(info["problem"], info["class_names"])
    except LimbeckError as error:
        raise ValueError(f"problem: {str(error).rstrip('.')}") from error
    if asked.writes != (info["loads_with"] == WRITER):
        raise ValueError(f"loads_with is {info['loads_with']!r}, of a {asked.kind}")
    n_outputs, has_logits = asked.n_outputs(), asked.reading in ("classifier", "positions")
    if has_logits and n_outputs not in (None, len(info["class_names"])):
        raise ValueError(f"a problem of {n_outputs} outputs has {len(info['class_names'])} names")
    inputs = info.get("inputs")
    if not isinstance(inputs, dict) or not inputs:
        raise ValueError("it has no inputs")
    for name, spec in inputs.items():
        check_input(name, spec)
        if spec["shape"][0] != "rows" or any(isinstance(size, str) for size in spec["shape"][1:]):
            raise ValueError(f"the input {name!r} has no shape of rows")
    if ("digest" in info) != (info["format"] >= FIRST_WHOLE):
        raise ValueError("it must have a digest of its own from format 3 on, and only then")
    hashes = info.get("sha256")
    if not isinstance(hashes, dict):
        raise ValueError("it has no hashes")
    for name, digest in hashes.items():
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError(f"the hash of {name!r} is none")
        if (folder / str(name)).exists() and not _is_part(folder, name):
            raise ValueError(f"{name!r} is no file of the folder itself")
    for key in ("provenance", "versions", "card"):
        if not isinstance(info.get(key, {}), dict):
            raise ValueError(f"{key} is no object")


def _is_part(folder: Path, name: str) -> bool:
    """Whether ``name`` is a file of the folder itself, or of one of the folders that a model may have in it."""
    inner, _, last = name.rpartition("/")
    return is_own_file(folder / inner, last) if inner in SUBFOLDERS else is_own_file(folder, name)


def digest_of(info: Mapping[str, Any]) -> str:
    """SHA-256 of what ``student.json`` says, its own ``digest`` aside, however it is spaced."""
    said = {key: value for key, value in info.items() if key != "digest"}
    text = json.dumps(said, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_class_names(names: Any) -> None:
    """ValueError unless ``names`` is a list of texts, each once."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names must be a list of texts")
    if len(set(names)) != len(names):
        raise ValueError(f"the class name {next(n for n in names if names.count(n) > 1)!r} comes twice")
    "".join(names).encode("utf-8")  # half a surrogate pair cannot be printed


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """``preprocessor.json``, checked as far as limbeck reads it; settings of other kinds are the user's own."""
    path = folder / PREPROCESSOR
    settings = read_object(path, largest=_JSON_BYTES)
    try:
        check_settings(settings)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not as limbeck wrote it ({error}); export the student again.") from error
    return settings


def _whole(largest: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 1 <= value <= largest


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(_number(part) for part in value)


def _names(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) or _texts(name) for name in value.values())


def _is_input(value: Any) -> bool:
    """Whether these are the settings of one of several inputs."""
    if not isinstance(value, dict) or value.get("kind") not in _ONE_OF_SEVERAL:
        return False
    own = {name: setting for name, setting in value.items() if name != "column"}
    check_settings(own)
    of_columns = value["kind"] == "table" or isinstance(value.get("column"), str)
    return of_columns and not _missing(own)


_SIDE, _MANY = _whole(2**16), _whole(2**24)
# Kind of raw sample to the settings that limbeck's readers take, and what each may be.
_SETTINGS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "image": {
        "height": _SIDE,
        "width": _SIDE,
        "channels": _whole(64),
        "mean": lambda value: _number(value) or _numbers(value),
        "deviation": lambda value: _number(value) or _numbers(value),
    },
    "video": {
        **dict.fromkeys(("frames", "height", "width"), _SIDE),
        "channels": _whole(64),
        **dict.fromkeys(("mean", "deviation"), _number),
    },
    "log_mel": {
        **dict.fromkeys(("n_fft", "window", "hop", "n_frames", "pool"), _SIDE),
        "rate": _MANY,
        "n_bands": _whole(2**12),
        "lowest": _number,
        "highest": _number,
    },
    "series": {
        "channels": _whole(2**16),
        "length": _MANY,
        "fits": lambda value: isinstance(value, bool),
        "mean": _numbers,
        "deviation": _numbers,
    },
    "several": {
        "inputs": lambda value: (
            isinstance(value, dict) and bool(value) and all(map(_is_input, value.values()))
        )
    },
    "words": {"length": _SIDE},
    "table": {"columns": _texts, "mean": _numbers, "deviation": _numbers},
    "text": {
        "columns": lambda value: _texts(value) and set(value) <= {"text", "text_pair", "choices", "prompt"},
        "max_length": _MANY,
        "names": _names,
    },
}
_ONE_OF_SEVERAL = ("image", "log_mel", "series", "table", "video", "words")
_OPTIONAL = ("input", "names", *_SETTINGS["log_mel"])


def check_settings(settings: Mapping[str, Any]) -> None:
    """ValueError for a setting of a known kind of sample that is none."""
    kind = settings.get("kind")
    if kind is not None and not isinstance(kind, str):
        raise ValueError(f"its kind is {kind!r}")
    known = _SETTINGS.get(kind or "", {})
    for name, check in {**known, "input": lambda value: isinstance(value, str)}.items():
        if name in settings and not check(settings[name]):
            raise ValueError(f"{name} is {repr(settings[name])[:60]}")
    if kind == "series" and any(
        len(settings.get(n, ())) != settings.get("channels") for n in ("mean", "deviation")
    ):
        raise ValueError("mean and deviation are not those of its channels")
    if kind == "table" and len({len(settings[name]) for name in known if name in settings}) > 1:
        raise ValueError("columns, mean and deviation differ in length")


def _missing(settings: Mapping[str, Any]) -> list[str]:
    return [n for n in _SETTINGS.get(settings.get("kind") or "", {}) if n not in (*settings, *_OPTIONAL)]


def check_readable(settings: Mapping[str, Any], folder: Path) -> None:
    """DataError unless files can be read by these settings."""
    missing = _missing(settings)
    if missing:
        raise DataError(
            f"{folder / PREPROCESSOR} does not say {', '.join(missing)}, so files cannot be read; use "
            "load_exported() with inputs of your own."
        )
