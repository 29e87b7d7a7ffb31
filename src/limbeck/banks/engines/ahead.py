"""Work that is begun before its turn, at most so far ahead, with errors that come in their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Begun = TypeVar("Begun")


def ahead(
    items: Iterator[Item],
    depth: int,
    begin: Callable[[Item], Begun],
    end: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Item, Begun]]:
    """Every item with what ``begin`` made of it when it was read, at most ``depth`` items before its turn.

    An error of the data comes when what was read before it has had its turn, as if nothing were read ahead.

    Args:
        end: called when all are read.
    """
    waiting: deque[tuple[Item, Begun]] = deque()
    failure: Exception | None = None
    more = True
    while more or waiting:
        while more and len(waiting) < depth:
            try:
                item = next(items, None)
            except Exception as error:
                item, failure = None, error
            if item is None:
                more = False
                end()
            else:
                waiting.append((item, begin(item)))
        if waiting:
            yield waiting.popleft()
    if failure is not None:
        raise failure


def in_thread(items: Iterator[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, made in a thread of their own, at most ``depth`` before they are asked for."""
    with threads(1) as thread:
        for _, ready in ahead(iter(lambda: thread.submit(_next, items), None), depth, lambda future: future):
            found = ready.result()
            if not found:
                return
            yield found[0]


def _next(items: Iterator[Item]) -> tuple[Item, ...]:
    """The next item in a tuple, which is empty when all are made."""
    return tuple(islice(items, 1))


@contextmanager
def threads(n: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that drops what has not begun when it is left early."""
    pool = ThreadPoolExecutor(n, thread_name_prefix="ahead")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
