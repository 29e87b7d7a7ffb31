"""A student whose parameters are sharded over processes (FSDP2), made whole for what comes after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from limbeck.errors import ConfigError
from limbeck.training.processes import is_first_process

if TYPE_CHECKING:
    from transformers import Trainer

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def check_sharding(trainer: Trainer) -> None:
    """Refuse what is not possible with sharded parameters: FSDP1, and checkpoints.

    Raises: ConfigError.
    """
    if not trainer.is_fsdp_enabled:
        return
    if trainer.accelerator.state.fsdp_plugin.fsdp_version != 2:
        raise ConfigError(
            "Of FSDP only version 2 is supported; set fsdp_version: 2 in the accelerate config."
        )
    if trainer.args.save_strategy != "no":
        raise ConfigError(
            "A sharded run (FSDP) cannot write checkpoints; leave training.save_strategy at 'no'."
        )


def whole(module: AnyModule, make: Callable[[], AnyModule]) -> AnyModule:
    """``module`` itself, or where it is sharded one that ``make`` gives, with its values, in the first process.

    All processes must call it together; the others get their shard back. The parameters are gathered one by one, on
    the CPU.
    """
    from torch.distributed.tensor import DTensor

    if not any(isinstance(value, DTensor) for value in module.parameters()):
        return module
    values: dict[str, torch.Tensor] = {}
    for name, value in module.state_dict().items():
        full = value.full_tensor() if isinstance(value, DTensor) else value
        if is_first_process():
            values[name] = full.cpu()
    if not is_first_process():
        return module
    gathered = make()
    gathered.load_state_dict(values)
    return gathered
