"""Checkpoints that are whole or not there, hold no pickled arguments, and fit the run that resumes from them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers.utils import SAFE_WEIGHTS_NAME

from limbeck.errors import CheckpointError

METHOD_FILE = "method.json"
UNFINISHED = "unfinished"  # the folder in which a checkpoint is written before it gets its name


def publish(unfinished: Path, folder: Path) -> None:
    """Give a finished checkpoint its name: write all of ``unfinished`` to disk, then move it to ``folder``."""
    for path in [*unfinished.rglob("*"), unfinished]:
        _to_disk(path)
    if folder.exists():  # of an earlier run in the same place
        shutil.rmtree(folder)
    unfinished.rename(folder)
    _to_disk(folder.parent)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows keeps no handle on a folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_checkpoint(folder: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of itself; refused if it is of another method or config than ``expected``.

    Raises: CheckpointError naming what is missing or differs.
    """
    for name in (SAFE_WEIGHTS_NAME, METHOD_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is no checkpoint of a distillation run: it holds no {name}.")
    found = json.loads((folder / METHOD_FILE).read_text(encoding="utf-8"))
    if found["name"] != expected["name"]:
        raise CheckpointError(
            f"The checkpoint {folder} is of method {found['name']!r}, this run uses {expected['name']!r}; resume with "
            "the same method or start afresh in another output_dir."
        )
    config = json.loads(json.dumps(expected["config"]))
    different = [key for key in {**config, **found["config"]} if found["config"].get(key) != config.get(key)]
    if different:
        key = different[0]
        raise CheckpointError(
            f"The checkpoint {folder} was made with {key}={found['config'].get(key)!r}, this run has "
            f"{key}={config.get(key)!r}; resume with the same config or start afresh in another output_dir."
        )
    return found


def load_weights(folder: Path, model: nn.Module) -> None:
    """Load a checkpoint's weights, buffers and EMA student.

    Raises: CheckpointError naming the first tensor that does not fit (another student, or EMA on one side only).
    """
    from safetensors.torch import load_file, load_model

    path = folder / SAFE_WEIGHTS_NAME
    try:
        load_model(model, str(path), strict=True)
    except RuntimeError as error:
        have = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        saved = {name: tuple(value.shape) for name, value in load_file(path).items()}
        different = sorted(n for n in have.keys() | saved.keys() if have.get(n) != saved.get(n))
        name = different[0] if different else "?"
        raise CheckpointError(
            f"The checkpoint {folder} is of another student: {name!r} is {saved.get(name, 'absent')} in it and "
            f"{have.get(name, 'absent')} in this run; resume with the same student and the same ema setting, or start "
            "afresh in another output_dir."
        ) from error
