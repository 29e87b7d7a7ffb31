"""What a run cost: wall time, processor time and memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    """Of one run, with its data and its evaluation.

    Args:
        wall, processor: seconds; the processor's are those of all threads of this process.
        memory: largest resident memory in MiB while it ran.
        accelerator_memory: the same of the accelerator; 0 without one.
        teacher_calls: rows that a teacher was asked about; of a bank those it was built from, asked once for all runs.
    """

    wall: float = 0.0
    processor: float = 0.0
    memory: float = 0.0
    accelerator_memory: float = 0.0
    teacher_calls: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of the block, complete when it ends."""
    import torch

    cost, cuda = Cost(), torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    _forget_peak()
    wall, processor = time.perf_counter(), time.process_time()
    yield cost
    cost.wall, cost.processor = time.perf_counter() - wall, time.process_time() - processor
    cost.memory = _peak()
    cost.accelerator_memory = torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0


def _forget_peak() -> None:
    """Linux counts the peak from here on; elsewhere it is that of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> float:
    """MiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows has neither
        return 0.0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 2**20 if sys.platform == "darwin" else largest / 1024
