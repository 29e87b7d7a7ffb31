"""What transformers loads from a folder or hub id of others: weights and settings, never code.

A checkpoint can bring Python of its own (``auto_map``), name a class of transformers where another is meant, hold its
weights as a pickle, or point at kernels and base models elsewhere. None of that is followed here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.errors import DataError, LimbeckError, first_line
from limbeck.students.export.strict_json import read_json

NO_CODE: dict[str, Any] = {"trust_remote_code": False}
PLAIN_WEIGHTS: dict[str, Any] = {**NO_CODE, "use_safetensors": True}
"""Arguments of every ``from_pretrained``: of configurations and processors, and of models."""

# Which names of classes a setting may hold. Transformers takes any name of its own namespace: an AutoModel given as
# a tokenizer's class would load the model, and ask whether to run its code.
_CLASSES = {
    "tokenizer_class": r"\w*(Tokenizer(Fast)?|Backend)",
    "image_processor_type": r"\w*(ImageProcessor(Fast|Pil)?|FeatureExtractor)",
    "feature_extractor_type": r"\w*(FeatureExtractor|ImageProcessor(Fast)?|AudioProcessor)",
    "video_processor_type": r"\w*VideoProcessor",
    "processor_class": r"\w*Processor",
}
# Files of words, and those of our own, whose keys are no settings of transformers.
_OTHER = (
    "tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json",
    "program.json", "preprocessing.json", "student.json", "preprocessor.json",
)  # fmt: skip
_MEND = "take a checkpoint without it"


@contextlib.contextmanager
def no_code(source: str | Path, trusted: bool = False) -> Iterator[None]:
    """Load from ``source`` (a folder or hub id) inside; nothing asks, and no code of the checkpoint is run.

    Args:
        trusted: its code may run; nothing is checked.
    Raises: DataError for a checkpoint that cannot be loaded so.
    """
    from transformers import dynamic_module_utils

    if trusted:
        yield
        return
    check_folder(source)
    # Above 0, transformers asks on the terminal wherever trust_remote_code did not reach.
    seconds = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error) or isinstance(error, DataError):
            raise
        raise DataError(
            f"'{source}' brings code of its own, which is not run; take a checkpoint of a kind that transformers "
            "knows (or, for a teacher, read the code, and pass trust_remote_code=True if you trust it)."
        ) from error
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = seconds


@contextlib.contextmanager
def loading(source: str | Path, trusted: bool = False) -> Iterator[None]:
    """:func:`no_code` around the reading of a model's weights; DataError, one sentence, where that fails."""
    try:
        with no_code(source, trusted):
            yield
    except (LimbeckError, MemoryError):
        raise
    except Exception as error:  # transformers raises what the kind of model makes of its settings
        reason = first_line(error)
        raise DataError(
            f"The weights of '{source}' cannot be loaded ({reason}){_pickled(source)}."
        ) from error


def check_folder(source: str | Path) -> None:
    """DataError for a folder whose settings lead transformers to other classes, kernels or folders."""
    folder = Path(source)
    if not folder.is_dir():
        return
    if (folder / "adapter_config.json").exists():
        raise DataError(
            f"'{folder}' holds an adapter, whose adapter_config.json names the model that it belongs to, which is not "
            "followed; merge it into its model (merge_and_unload of peft) and save that."
        )
    for path in sorted(folder.glob("*.json")):
        if path.name not in _OTHER:
            found = read_json(path)
            for key, setting in _settings(found):
                _check_setting(path, key, setting)
            if path.name == "model_index.json":  # of a pipeline of diffusers
                _check_libraries(path, found)


def refuse_links(folder: Path) -> None:
    """DataError for a link in ``folder`` that leads out of it."""
    inside = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if not path.resolve().is_relative_to(inside):
            raise DataError(f"{path} leads out of its folder; copy the student again, with all its files.")


def refuse_extras(folder: Path) -> dict[str, Any]:
    """The configuration of an exported student; DataError for settings that none is written with."""
    path = folder / "config.json"
    found = read_json(path)
    for key, _ in _settings(found):
        if key in ("auto_map", "quantization_config") or key.endswith("_implementation"):
            raise DataError(f"{path} holds '{key}', which no student needs; export it again.")
    return found if isinstance(found, dict) else {}


def _settings(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            waiting += found.values()
            yield from found.items()


def _check_setting(path: Path, key: str, setting: Any) -> None:
    pattern = _CLASSES.get(key)
    if pattern and setting is not None and not re.fullmatch(f"(?!Auto){pattern}", str(setting)):
        raise DataError(f"{path} gives {setting!r} as its {key}, which is none; {_MEND}.")
    if key.endswith("_implementation") and re.search(r"[/:]", str(setting)):
        raise DataError(f"{path} asks for the kernels {setting!r}, which are code from elsewhere; {_MEND}.")
    if key == "configuration_files":
        raise DataError(f"{path} points at configurations of other names; {_MEND}.")
    if key == "weight_map" and isinstance(setting, dict):
        for name in setting.values():
            if not _is_plain(name):
                raise DataError(f"{path} points at the file {name!r}, which is not beside it; copy it again.")


def _check_libraries(path: Path, parts: Any) -> None:
    """Each part of a pipeline names the library that its class comes from, and that library would be imported."""
    for part in parts.values() if isinstance(parts, dict) else ():
        library = part[0] if isinstance(part, list) and part else None
        if library not in (None, "diffusers", "transformers") and importlib.util.find_spec(
            str(library).split(".")[0]
        ):
            raise DataError(f"{path} asks for the library {library!r}; {_MEND}.")


def is_own_file(folder: Path, name: Any) -> bool:
    """Whether ``name`` is that of a file in ``folder`` itself: no path, no link that leads out of it."""
    path = folder / str(name)
    return _is_plain(name) and path.is_file() and path.resolve().parent == folder.resolve()


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and bool(re.fullmatch(r"[\w\-][\w\-. ]*", name))


def _pickled(source: str | Path) -> str:
    """A clause for a folder whose weights lie there as a pickle alone."""
    folder = Path(source)
    pickles = [path.name for path in sorted(folder.glob("*.bin"))] if folder.is_dir() else []
    if not pickles:
        return ""
    return (
        f"; its {pickles[0]} is a pickle, which is not opened, as it could run code: load it where you trust it, and "
        "save it with save_pretrained, as safetensors"
    )
