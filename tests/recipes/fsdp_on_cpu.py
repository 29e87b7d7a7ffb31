"""``limbeck`` in one of several CPU processes with FSDP2. Usage: as ``limbeck``, under torchrun.

accelerate shards on accelerators only; torch shards on CPUs as well, so accelerate's state is told to.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from limbeck.cli import main

plain = AcceleratorState.__init__


def sharding(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
    """As accelerate does with accelerators; every ``AcceleratorState()`` takes the kind of its processes anew."""
    plain(self, *args, fsdp_plugin=fsdp_plugin, **options)
    if fsdp_plugin is not None:
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin
    if self.fsdp_plugin is not None:
        self.distributed_type = DistributedType.FSDP


if __name__ == "__main__":
    torch.set_num_threads(1)
    AcceleratorState.__init__ = sharding
    code = main(sys.argv[1:])
    assert AcceleratorState().fsdp_plugin is not None, "nothing was sharded"
    sys.exit(code)
