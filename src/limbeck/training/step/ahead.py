"""The batches of the next steps, made in a thread while a step runs: look-ups in a large bank wait for its disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from limbeck.banks.bank import Bank
from limbeck.training.collator import DistillationCollator

LARGE = 2**30  # bytes of a bank from which on its rows may not lie in memory; a smaller one answers at once
DEPTH = 2  # batches that wait


def reads_large_banks(collate: DistillationCollator) -> bool:
    """Whether a teacher's rows come from a folder of at least ``LARGE`` bytes."""
    banks = [teacher.source for teacher in collate.teachers.values() if isinstance(teacher.source, Bank)]
    return any(bank.path is not None and _size(bank) >= LARGE for bank in banks)


def _size(bank: Bank) -> int:
    assert bank.path is not None
    return sum(path.stat().st_size for path in bank.path.rglob("*") if path.is_file())


class Ahead(Iterator[Any]):
    """What ``items`` gives, in its order, made by a thread that is at most ``depth`` items ahead.

    What is raised there is raised here, in the place of the item that it stands for. The thread ends with ``items``, or
    soon after :meth:`close`.
    """

    def __init__(self, items: Iterable[Any], depth: int = DEPTH) -> None:
        self._made: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._ended = False
        self.thread = threading.Thread(target=self._make, args=(items,), name="limbeck-ahead", daemon=True)
        self.thread.start()

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        kind, value = self._made.get()
        if kind == "item":
            return value
        self._ended = True
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """End the thread, and wait for the item that it is making."""
        self._stop.set()
        self._ended = True
        self.thread.join()

    def _make(self, items: Iterable[Any]) -> None:
        try:
            for item in items:
                if not self._put("item", item):
                    return
            self._put("end", None)
        except BaseException as error:  # whatever it is, it is raised in the training
            self._put("error", error)

    def _put(self, kind: str, value: Any) -> bool:
        """Whether it was taken; False where nobody waits any more."""
        while not self._stop.is_set():
            try:
                self._made.put((kind, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


class AheadLoader(DataLoader[Any]):
    """A loader whose batches are made ahead; :meth:`close` ends the thread of its last iteration."""

    ahead: Ahead | None = None

    def __iter__(self) -> Any:
        self.close()
        self.ahead = Ahead(super().__iter__())
        return self.ahead

    def close(self) -> None:
        if self.ahead is not None:
            self.ahead.close()
            self.ahead = None
