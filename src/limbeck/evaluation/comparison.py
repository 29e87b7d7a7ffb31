"""Arms x controls x seeds: run what is missing, keep what is done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from limbeck.errors import ConfigError, DataError, some
from limbeck.evaluation.results import NO_CONTROL, Row, row_from_dict, write_metrics

JOURNAL_FILE = "runs.jsonl"


@dataclass(frozen=True)
class Arm:
    """One column of a comparison.

    Args:
        name: unique in the comparison; the baseline is called ``supervised``.
        controls: what to run besides the arm itself, for example ``("shuffled",)``.
        config: everything that decides the result, as plain values (a resolved recipe without its seed). A
            run is taken from an earlier, interrupted comparison only if this is unchanged.
    """

    name: str
    controls: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


# run(arm, control, seed) -> the rows of that run; control is "none" for the arm itself.
Run = Callable[[Arm, str, int], Sequence[Row]]


class Cell(NamedTuple):
    """One run of a comparison; ``config`` is the hash of the arm's config."""

    arm: str
    control: str
    seed: int
    config: str


class Comparison(NamedTuple):
    """All rows, the file that holds them, and how many runs were taken from an earlier start."""

    rows: list[Row]
    path: Path
    n_resumed: int


def compare(
    arms: Sequence[Arm],
    run: Run,
    seeds: Sequence[int],
    *,
    output: str | Path,
    info: Mapping[str, Any] | None = None,
    show_progress: bool = True,
) -> Comparison:
    """Run every arm and control over every seed; writes ``metrics.json`` and, run by run, ``runs.jsonl``.

    All arms of a seed run before the next seed, so that an interrupted comparison holds whole pairs. Started
    again in the same folder it goes on where it stopped; at most the run in progress is lost.

    Args:
        arms: unique names.     run: called once per missing run; its exceptions pass through.
        seeds: distinct.        output: folder, made if absent.
        info: facts for ``metrics.json``, JSON-able.
        show_progress: draw a bar on stderr; ``run`` must then draw none of its own.

    Raises: ConfigError for arms or seeds that repeat, or a folder in use by another comparison; DataError
        for a damaged ``runs.jsonl`` or a run that returns rows of another arm.
    """
    from filelock import FileLock, Timeout

    cells = _cells(arms, seeds)
    by_name = {arm.name: arm for arm in arms}
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{JOURNAL_FILE}.lock", timeout=0):
            done = read_journal(folder / JOURNAL_FILE)
            missing = [cell for cell in cells if cell not in done]
            with _Progress(len(cells), len(cells) - len(missing), show_progress) as progress:
                for cell in missing:
                    progress.start(cell)
                    rows = list(run(by_name[cell.arm], cell.control, cell.seed))
                    _check(rows, cell)
                    _append(folder / JOURNAL_FILE, cell, rows)
                    done[cell] = rows
                    progress.advance()
    except Timeout:
        raise ConfigError(
            f"Another comparison is writing in {folder}; wait for it or choose another folder."
        ) from None
    all_rows = [row for cell in cells for row in done[cell]]
    path = write_metrics(folder, all_rows, info)
    return Comparison(all_rows, path, len(cells) - len(missing))


def read_journal(path: Path) -> dict[Cell, list[Row]]:
    """The finished runs in ``runs.jsonl``; a last line cut by an interruption is removed from the file.

    Raises: DataError that names file and line when any other line is damaged.
    """
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)  # the next line must not be appended to half a line
    done = {}
    for number, line in enumerate(content[:whole].splitlines(), 1):
        place = f"{path}, line {number}"
        try:
            entry = json.loads(line)
            cell = Cell(entry["arm"], entry["control"], entry["seed"], entry["config"])
            values = list(entry["rows"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{place} is not a finished run ({error!r}); delete that line to run it again."
            ) from error
        done[cell] = [row_from_dict(row, place) for row in values]
    return done


def config_hash(config: Mapping[str, Any]) -> str:
    """A short hash of plain values that does not depend on the order of keys."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cells(arms: Sequence[Arm], seeds: Sequence[int]) -> list[Cell]:
    _check_distinct("arm", [arm.name for arm in arms])
    _check_distinct("seed", seeds)
    return [
        Cell(arm.name, control, seed, config_hash(arm.config))
        for seed in seeds
        for arm in arms
        for control in dict.fromkeys((NO_CONTROL, *arm.controls))
    ]


def _check_distinct(what: str, names: Sequence[Any]) -> None:
    if not names:
        raise ConfigError(f"A comparison needs at least one {what}.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ConfigError(f"Each {what} of a comparison runs once, but {some(twice)} was given twice.")


def _check(rows: Sequence[Row], cell: Cell) -> None:
    if not rows:
        raise DataError(
            f"The run of arm {cell.arm!r}, control {cell.control!r}, seed {cell.seed} gave no rows."
        )
    for row in rows:
        if (row.arm, row.control, row.seed) != cell[:3]:
            raise DataError(
                f"The run of {cell[:3]} (arm, control, seed) gave a row of {row.arm, row.control, row.seed}."
            )


def _append(path: Path, cell: Cell, rows: Sequence[Row]) -> None:
    line = json.dumps({**cell._asdict(), "rows": [asdict(row) for row in rows]}, allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


class _Progress:
    """A bar over all runs with seconds per run and the remaining time; silent where none is wanted."""

    def __init__(self, total: int, done: int, show: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.total, self.resumed, self.done = total, done, done
        self.began = monotonic()
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=not (show and console.is_terminal),
        )
        self.task = self.bar.add_task("comparing", total=total, completed=done, rate="")

    def __enter__(self) -> _Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def start(self, cell: Cell) -> None:
        control = "" if cell.control == NO_CONTROL else f" ({cell.control})"
        self.bar.update(self.task, description=f"{cell.arm}{control}, seed {cell.seed}")

    def advance(self) -> None:
        self.done += 1
        per_run = (monotonic() - self.began) / (self.done - self.resumed)
        left = per_run * (self.total - self.done)
        self.bar.update(self.task, advance=1, rate=f"{per_run:.1f} s a run, {_minutes(left)} left")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
