"""A bar over all runs of a comparison, with the time that remains; plain lines where nobody watches a terminal."""

from __future__ import annotations

from time import monotonic

from limbeck.errors import one_line
from limbeck.progress import PlainLines, minutes


class RunsBar:
    """Seconds per run and the remaining time on standard error; silent where none is wanted."""

    def __init__(self, total: int, done: int, show: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.total, self.resumed, self.done = total, done, done
        self.began = monotonic()
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=not (show and console.is_terminal),
        )
        self.lines = (
            PlainLines("comparing", total, "runs", done) if show and not console.is_terminal else None
        )
        self.task = self.bar.add_task("comparing", total=total, completed=done, rate="")

    def __enter__(self) -> RunsBar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def start(self, what: str) -> None:
        self.bar.update(self.task, description=one_line(what))

    def advance(self, what: str) -> None:
        """One more run is done."""
        self.done += 1
        if self.lines is not None:
            self.lines(self.done, what)
        per_run = (monotonic() - self.began) / (self.done - self.resumed)
        left = per_run * (self.total - self.done)
        self.bar.update(
            self.task,
            advance=1,
            description=one_line(what),
            rate=f"{per_run:.1f} s a run, {minutes(left)} left",
        )
