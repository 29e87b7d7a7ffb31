"""Several processes of one run: who writes, and when the others may read."""

from __future__ import annotations

import os

from torch import distributed


def is_first_process() -> bool:
    """True in a single process, and in rank 0 of several; before these have met their launcher's word counts."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Until every process of the run has come here; nothing to wait for in a single one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
