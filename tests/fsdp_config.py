"""The accelerate configs that ship: what accelerate takes of them, and a run of two CPU processes as they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.recipes import recipe as recipes

FOLDER = Path(recipes.__file__).parent / "accelerate"
_VARIABLES = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}


def config(name: str) -> Any:
    """Read as ``accelerate launch`` reads it, which refuses unknown keys."""
    from accelerate.commands.config.config_args import ClusterConfig

    return ClusterConfig.from_yaml_file(str(FOLDER / f"{name}.yaml"))


def check(name: str) -> None:
    """What it says is sharded FSDP2 over layers that a LLaMA has."""
    from accelerate.utils import FullyShardedDataParallelPlugin
    from transformers.models.llama import modeling_llama

    found = config(name)
    assert str(found.distributed_type) == "DistributedType.FSDP"
    settings = found.fsdp_config
    assert hasattr(modeling_llama, settings["fsdp_transformer_layer_cls_to_wrap"])
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=settings["fsdp_version"],
        auto_wrap_policy=settings["fsdp_auto_wrap_policy"].lower(),
        transformer_cls_names_to_wrap=[settings["fsdp_transformer_layer_cls_to_wrap"]],
        state_dict_type=settings["fsdp_state_dict_type"],
        reshard_after_forward=settings["fsdp_reshard_after_forward"],
    )
    assert plugin.fsdp_version == 2
    assert found.num_processes > 1


def run_sharded(name: str, arguments: Sequence[str]) -> None:
    """``limbeck`` with these arguments in two CPU processes, sharded as the config says."""
    settings = config(name).fsdp_config
    variables = {_VARIABLES.get(key, key.upper()): str(value) for key, value in settings.items()}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(Path(__file__).parent / "recipes" / "fsdp_on_cpu.py"), "--debug", *arguments]
    done = subprocess.run(
        [*command, "--training.ddp_backend", "gloo"],
        env={**os.environ, "ACCELERATE_USE_FSDP": "true", "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
