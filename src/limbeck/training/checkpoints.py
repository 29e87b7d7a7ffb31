"""Checkpoints that are whole or not there, hold no pickled arguments, and fit the run that resumes from them.

``hashes.json`` is written last and lists every file with its size and SHA-256, and a hash of the list itself: a copy
that stopped half-way, a file that was cut, and a bit that flipped are told from a checkpoint before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from limbeck.banks.shards import file_hash
from limbeck.errors import CheckpointError, machine_error
from limbeck.training.identity import check_same_run, length_note

METHOD_FILE = "method.json"
HASHES_FILE = "hashes.json"
UNFINISHED = "unfinished"  # the folder in which a checkpoint is written before it gets its name
_READ_BY_NAME = (
    ".pt",
    ".pth",
    ".bin",
    ".safetensors",
    ".json",
)  # what the Trainer would read if it lay there
_whole: dict[
    Path, list[tuple[str, int, int]]
] = {}  # checkpoints found whole, and the state of their files then


# ---- writing -------------------------------------------------------------------------------------------------


def publish(unfinished: Path, folder: Path) -> None:
    """Give a finished checkpoint its name: hash all of ``unfinished``, write it to disk, then move it to ``folder``."""
    hashes = {
        path.relative_to(unfinished).as_posix(): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in sorted(unfinished.rglob("*"))
        if path.is_file()
    }
    content = {"files": hashes, "sha256": _hash_of(hashes)}
    (unfinished / HASHES_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    for path in [*unfinished.rglob("*"), unfinished]:
        _to_disk(path)
    if folder.exists():  # of an earlier run in the same place
        shutil.rmtree(folder)
    unfinished.rename(folder)
    _to_disk(folder.parent)


def _hash_of(hashes: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows keeps no handle on a folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- damage --------------------------------------------------------------------------------------------------


def check_files(folder: Path) -> None:
    """Refuse a checkpoint of which a file is missing, cut, changed, or not its own.

    Raises: CheckpointError naming the file, and the last whole checkpoint before it.
    """
    try:
        what = _damage(folder)
    except OSError as error:  # the machine's trouble, not the checkpoint's
        if (found := machine_error(error, folder)) is not None:
            raise found from error
        raise CheckpointError(
            f"The checkpoint {folder} cannot be read: {error.filename or folder}: {error.strerror}."
        ) from error
    if what is None:
        return
    before = _whole_before(folder)
    mend = (
        f"delete it, and the run goes on from {before} before it"
        if before is not None
        else "there is no whole checkpoint before it, so start afresh in another output_dir"
    )
    if what == SAFE_WEIGHTS_NAME:
        raise CheckpointError(f"{folder} is no checkpoint of a distillation run: it holds no {what}; {mend}.")
    raise CheckpointError(f"The checkpoint {folder} is damaged: {what}; {mend}.")


def _damage(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint; the name of the weights alone if it is none at all."""
    state = _state(folder)
    if _whole.get(folder.absolute()) == state:
        return None
    names = {name for name, *_ in state}
    if HASHES_FILE not in names:
        return SAFE_WEIGHTS_NAME if SAFE_WEIGHTS_NAME not in names else f"{HASHES_FILE} is missing"
    try:
        content = json.loads((folder / HASHES_FILE).read_bytes())
        hashes = content["files"]
        if content["sha256"] != _hash_of(hashes):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{HASHES_FILE} is not what was written"
    for name, expected in hashes.items():
        path = folder / name
        if name not in names:
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes of {expected['bytes']}"
        if file_hash(path) != expected["sha256"]:
            return f"{name} is not what was written"
    for name in sorted(names - set(hashes) - {HASHES_FILE}):
        if name.endswith(_READ_BY_NAME):
            return f"{name} was not written with it"
    _whole[folder.absolute()] = state
    return None


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file, so that a checkpoint is read once and not at every look."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stat = path.stat()
            found.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return found


def _whole_before(folder: Path) -> str | None:
    """Name of the nearest earlier checkpoint that is whole."""
    number = _number(folder)
    earlier = [path for path in folder.parent.glob("checkpoint-*") if 0 <= _number(path) < number]
    for path in sorted(earlier, key=_number, reverse=True):
        try:
            if _damage(path) is None:
                return path.name
        except OSError:
            continue
    return None


def _number(folder: Path) -> int:
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(match[1]) if match else -1


# ---- whose it is ---------------------------------------------------------------------------------------------


def last_checkpoint(output_dir: str | None, wanted: str | bool | None) -> Path | None:
    """The checkpoint to go on from: a given one, or the last there is (``True``); None for a run from the start.

    Raises: CheckpointError if there is none.
    """
    from transformers.trainer_utils import get_last_checkpoint

    if not wanted:
        return None
    if wanted is not True:
        return Path(wanted)
    last = get_last_checkpoint(str(output_dir)) if Path(str(output_dir)).is_dir() else None
    if last is None:
        raise CheckpointError(
            f"There is no checkpoint in {output_dir} to go on from; start from the first step."
        )
    return Path(last)


def check_checkpoint(
    folder: Path, expected: Mapping[str, Any], tensors_of: nn.Module | None = None
) -> dict[str, Any]:
    """What the checkpoint says of itself; refused if it is damaged, or of another run than ``expected``.

    Args:
        expected: ``name`` and ``config`` of the method, and the run's ``settings`` and ``digests`` as far as they are
            known (see ``identity.py``).
        tensors_of: what the weights must fit by name and shape.

    Raises: CheckpointError naming what is missing or differs.
    """
    check_files(folder)
    found = json.loads((folder / METHOD_FILE).read_text(encoding="utf-8"))
    if found["name"] != expected["name"]:
        raise CheckpointError(
            f"The checkpoint {folder} is of method {found['name']!r}, this run uses {expected['name']!r}; resume with "
            "the same method or start afresh in another output_dir."
        )
    check_same_run(folder, {"settings": found["config"]}, {"settings": expected["config"]})
    check_same_run(folder, found, {**expected, "digests": {}})
    if tensors_of is not None:  # which says more than that the layers differ
        check_tensors(folder, tensors_of)
    check_same_run(folder, found, expected)
    return found


def going_on(
    folder: Path, expected: Mapping[str, Any], model: nn.Module, arguments: Any, ramp_end: float
) -> tuple[list[str], str | None]:
    """What was warned of in a checkpoint, and what going on from it means; all of it is checked first.

    Raises: CheckpointError.
    """
    found = check_checkpoint(folder, expected, model)
    rng = f"rng_state_{arguments.process_index}.pth" if arguments.world_size > 1 else "rng_state.pth"
    for name in (OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, rng):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"The checkpoint {folder} holds weights and no {name} (training.save_only_model), so no run can go on "
                "from it; start afresh in another output_dir."
            )
    note = length_note(
        json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))["global_step"],
        found["max_steps"],
        arguments.max_steps,
        schedule=arguments.lr_scheduler_type.value,
        warmup=arguments.warmup_steps,
        ramp_end=ramp_end,
        where=folder,
    )
    return list(found["warnings"]), note


def load_weights(folder: Path, model: nn.Module) -> None:
    """Load a checkpoint's weights, buffers and EMA student.

    Raises: CheckpointError naming the first tensor that does not fit (another student, or EMA on one side only).
    """
    from safetensors.torch import load_model

    try:
        load_model(model, str(folder / SAFE_WEIGHTS_NAME), strict=True)
    except RuntimeError as error:
        check_tensors(folder, model)
        raise CheckpointError(
            f"The checkpoint {folder} is of another student: {error}; resume with the same student and the same ema "
            "setting, or start afresh in another output_dir."
        ) from error


def check_tensors(folder: Path, model: nn.Module) -> None:
    """Refuse weights of another student, by names and shapes alone.

    Raises: CheckpointError naming the first tensor that does not fit.
    """
    from safetensors import safe_open

    with safe_open(folder / SAFE_WEIGHTS_NAME, "pt") as file:
        saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    tensors = model.state_dict()
    have = {name: tuple(value.shape) for name, value in tensors.items()}
    places = {
        tensors[name].data_ptr() for name in saved.keys() & have.keys()
    }  # of tied weights one name is saved
    different = sorted(
        name
        for name in have.keys() | saved.keys()
        if have.get(name) != saved.get(name)
        and not (name not in saved and tensors[name].data_ptr() in places)
    )
    if different:
        name = different[0]
        raise CheckpointError(
            f"The checkpoint {folder} is of another student: {name!r} is {saved.get(name, 'absent')} in it and "
            f"{have.get(name, 'absent')} in this run; resume with the same student and the same ema setting, or start "
            "afresh in another output_dir."
        )
