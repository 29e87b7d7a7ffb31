"""A progress bar with rate and remaining time, shown only when the work takes longer than two seconds; where nobody
watches a terminal (a log, a notebook's cell, a scheduler), a plain line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from limbeck.errors import one_line

PATIENCE = 2.0  # seconds
EVERY = 10.0  # seconds between plain lines


@contextmanager
def progress(description: str, total: int | None, unit: str = "rows") -> Iterator[Callable[..., None]]:
    """Yields ``advance(n, note)``; the bar is drawn on standard error, or written as plain lines where that is no
    terminal.

    Args:
        total: units of work, ``None`` if not known in advance (then without remaining time).
        unit: for the rate.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}", markup=False),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(one_line(description), total=total, rate="", note="")
    start, done = time.monotonic(), 0
    say = None if console.is_terminal else PlainLines(description, total, unit)

    def advance(n: int, note: str = "") -> None:
        nonlocal done
        done += n
        if say is not None:
            say(done, note)
            return
        seconds = time.monotonic() - start
        if seconds > PATIENCE and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, rate=f"{done / max(seconds, 1e-9):,.0f}/s", note=one_line(note))

    try:
        yield advance
    finally:
        if bar.live.is_started:  # stopping a bar that was never drawn would print an empty line
            bar.stop()


class PlainLines:
    """One line of progress on standard error every :data:`EVERY` seconds.

    Args:
        total: units of work, ``None`` if not known.    done: units that were there before.
    """

    def __init__(self, description: str, total: int | None, unit: str, done: int = 0) -> None:
        self._description, self._total, self._unit, self._before = description, total, unit, done
        self._start = self._said = time.monotonic()

    def __call__(self, done: int, note: str = "") -> None:
        """Say how far the work is, if the last line was long enough ago."""
        now = time.monotonic()
        if now - self._said < EVERY:
            return
        self._said = now
        rate = (done - self._before) / max(now - self._start, 1e-9)
        of = "" if self._total is None else f" of {self._total:,}"
        left = "" if self._total is None or rate <= 0 else f", {minutes((self._total - done) / rate)} left"
        told = f"{self._description}: {done:,}{of} {self._unit}, {rate:,.1f}/s{left}{', ' * bool(note)}{note}"
        print(one_line(told), file=sys.stderr, flush=True)


def minutes(seconds: float) -> str:
    """``m:ss``."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"
