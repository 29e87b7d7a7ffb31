"""A progress bar with rate and remaining time, shown only when the work takes longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0  # seconds


@contextmanager
def progress(description: str, total: int | None, unit: str = "rows") -> Iterator[Callable[..., None]]:
    """Yields ``advance(n, note)``; the bar is drawn on standard error, where that is a terminal.

    Args:
        total: units of work, ``None`` if not known in advance (then without remaining time).
        unit: for the rate.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(description, total=total, rate="", note="")
    start, done = time.monotonic(), 0

    def advance(n: int, note: str = "") -> None:
        nonlocal done
        done += n
        seconds = time.monotonic() - start
        if seconds > PATIENCE and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, rate=f"{done / max(seconds, 1e-9):,.0f}/s", note=note)

    try:
        yield advance
    finally:
        if bar.live.is_started:  # stopping a bar that was never drawn would print an empty line
            bar.stop()
