"""The trained parts of a method (projections, an aligner) as a file: a later stage may start from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from limbeck.errors import CheckpointError, ConfigError, machine_error
from limbeck.files import write_whole
from limbeck.methods.base import Method

PARTS_FILE = "method.safetensors"


def save_parts(method: Method, folder: Path) -> None:
    """Write ``method.safetensors`` into a run folder; no file for a method without parts, or with sharded ones."""
    from torch.distributed.tensor import DTensor  # costs half a second, and is needed at the end alone

    state = {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}
    (folder / PARTS_FILE).unlink(missing_ok=True)
    if state and not any(isinstance(value, DTensor) for value in state.values()):
        write_whole(folder / PARTS_FILE, save(state))


def parts_in(folder: str | Path) -> Mapping[str, Tensor]:
    """Name to tensor, as a run left them.

    Raises: ConfigError for a folder without any.    CheckpointError for a damaged file.
    """
    path = Path(folder) / PARTS_FILE
    if not path.is_file():
        raise ConfigError(
            f"method.init is {str(folder)!r}, and there is no {PARTS_FILE} in it; name the folder of a run of a method "
            "that has parts of its own (armada, fitnets, ...)."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise machine_error(error, path) or CheckpointError(
            f"{path} is damaged ({error}); do the run in {folder} again, or name another."
        ) from error


def start_parts(method: Method, folder: str | Path) -> None:
    """Copy the parts that a run left in ``folder`` into ``method``; what that run had beside them is not read.

    Raises: ConfigError for a folder without parts, or with others, naming the first that does not fit.
    """
    found = parts_in(folder)
    with torch.no_grad():
        for name, own in method.state_dict().items():
            value = found.get(name)
            if value is None or value.shape != own.shape:
                there = "absent" if value is None else str(list(value.shape))
                raise ConfigError(
                    f"The parts in {folder} are not of this method: {name!r} is {there} in them and {list(own.shape)} "
                    "here; name a run of the same method, settings and widths."
                )
            own.copy_(value)
