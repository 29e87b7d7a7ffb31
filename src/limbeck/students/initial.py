"""A model that starts from the weights of a student that was shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.problems.registry import problem
from limbeck.students.export.exported import whole_info
from limbeck.students.export.pooled import POOLED, load_pooled
from limbeck.students.export.program import PROGRAM, WEIGHTS
from limbeck.students.pretrained import shipped_model


def start_from(model: nn.Module, folder: str | Path) -> None:
    """Copy the weights and buffers of an exported student into ``model``, in the dtype that they have there.

    Raises: DataError for a folder that is no export, or not as it was written; ConfigError for a student of another
    network, naming the first tensor that does not fit.
    """
    weights = exported_weights(Path(folder))
    state = model.state_dict()
    places = {value.data_ptr() for name, value in state.items() if name in weights}  # tied ones are kept once
    for name in sorted(state.keys() | weights.keys()):
        there = name in weights or (name in state and state[name].data_ptr() in places)
        if name not in state or not there or (name in weights and weights[name].shape != state[name].shape):
            raise ConfigError(
                f"The student in {folder} is not of this network: {name!r} is {_shape(weights, name)} in it and "
                f"{_shape(state, name)} here; name the model and config that it was trained with."
            )
    with torch.no_grad():
        for name, value in weights.items():
            state[name].copy_(value)


def exported_weights(folder: Path) -> Mapping[str, Tensor]:
    """Weights and buffers of an exported student by name, on the CPU; errors as ``load_exported``."""
    info = whole_info(folder)
    if info["loads_with"] == PROGRAM:
        return load_file(folder / WEIGHTS)
    if info["loads_with"] == POOLED:
        return load_pooled(folder, problem(info["problem"], info["class_names"])).state_dict()
    return shipped_model(folder, info["loads_with"]).state_dict()


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return str(list(tensors[name].shape)) if name in tensors else "absent"
