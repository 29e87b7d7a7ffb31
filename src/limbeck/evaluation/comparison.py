"""Arms x controls x seeds: run what is missing, keep what is done, in one process or several."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.errors import ConfigError, DataError, some
from limbeck.evaluation.outcome import Outcome, read_outcome, write_outcome
from limbeck.evaluation.results import NO_CONTROL, Row, write_metrics
from limbeck.evaluation.runs_bar import RunsBar
from limbeck.evaluation.threads import one_of_many, pinned
from limbeck.files import only_writer, write_whole

PLAN_FILE, RUNS_FOLDER = "arms.json", "runs"


@dataclass(frozen=True)
class Arm:
    """One row of a comparison.

    Args:
        name: unique in the comparison; the baseline is called ``supervised``.
        controls: what to run besides the arm itself, for example ``("shuffled",)``.
        config: everything that decides the result, as plain values (a resolved recipe without its seed). A
            run is taken from an earlier, interrupted comparison only if this is unchanged.
    """

    name: str
    controls: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


# run(arm, control, seed, folder) -> what that run gave; control is "none" for the arm itself, the folder is its own.
Run = Callable[[Arm, str, int, Path], Outcome]


class Cell(NamedTuple):
    """One run of a comparison; ``config`` is the hash of the arm's config."""

    arm: str
    control: str
    seed: int
    config: str

    @property
    def folder_name(self) -> str:
        """Readable, and another one for another arm, control, seed or config."""
        plain = re.sub(r"[^A-Za-z0-9._=-]+", "_", f"{self.arm}-{self.control}-{self.seed}")[:80]
        return f"{plain}-{config_hash({'cell': list(self)})[:8]}"

    def __str__(self) -> str:
        control = "" if self.control == NO_CONTROL else f" ({self.control})"
        return f"{self.arm}{control}, seed {self.seed}"


@dataclass(frozen=True)
class Comparison:
    """What a comparison has given so far.

    Args:
        folder: where it lies.    cells: all that belong to it.    outcomes: of those that are finished.
        info: facts, JSON-able.    n_resumed: how many were taken from an earlier start.
    """

    folder: Path
    cells: tuple[Cell, ...]
    outcomes: Mapping[Cell, Outcome]
    info: Mapping[str, Any]
    n_resumed: int = 0

    @property
    def missing(self) -> list[Cell]:
        """Runs that have not finished."""
        return [cell for cell in self.cells if cell not in self.outcomes]

    @property
    def rows(self) -> list[Row]:
        """Of the seeds that every arm and control has finished, so that whatever is compared is paired."""
        unfinished = {cell.seed for cell in self.missing}
        return [row for cell in self.done for row in self.outcomes[cell].rows if cell.seed not in unfinished]

    @property
    def done(self) -> list[Cell]:
        return [cell for cell in self.cells if cell in self.outcomes]


def run_arms(
    arms: Sequence[Arm],
    run: Run,
    seeds: Sequence[int],
    *,
    output: str | Path,
    jobs: int = 1,
    threads: int = 1,
    info: Mapping[str, Any] | None = None,
    show_progress: bool = True,
) -> Comparison:
    """Run every arm and control over every seed, each in a folder of its own; writes ``metrics.json`` at the end.

    All arms of a seed run before the next seed, so that an interrupted comparison holds whole pairs. Started
    again in the same folder it goes on where it stopped; at most the runs in progress are lost.

    Args:
        arms: unique names.     run: called once per missing run; its exceptions pass through. With several jobs it must
            be picklable.
        seeds: distinct.        output: folder, made if absent.
        jobs: processes, >= 1.  threads: of each of them, the same whatever the jobs, since sums in another order are
            other numbers.
        info: facts for ``metrics.json``, JSON-able.
        show_progress: draw a bar on stderr; ``run`` must then draw none of its own.

    Raises: ConfigError for arms or seeds that repeat, or a folder in use by another comparison; DataError
        for a damaged result, a run that returns rows of another arm, or arms that were not run on the same data.
    """
    cells = _cells(arms, seeds)
    _check_counts(jobs=jobs, threads=threads)
    by_name = {arm.name: arm for arm in arms}
    folder = Path(output)
    with only_writer(folder, "comparison"):
        write_plan(folder, cells, info or {})
        missing = [cell for cell in cells if read_outcome(_folder(folder, cell)) is None]
        work = [(run, by_name[cell.arm], cell, _folder(folder, cell), threads) for cell in missing]
        with RunsBar(len(cells), len(cells) - len(missing), show_progress) as bar:
            for cell in _in_order(work, bar) if jobs == 1 else _in_processes(work, jobs, threads, bar):
                bar.advance(str(cell))
        found = replace(read_comparison(folder), n_resumed=len(cells) - len(missing))
        write_metrics(folder, found.rows, found.info)
    return found


def write_plan(folder: Path, cells: Sequence[Cell], info: Mapping[str, Any]) -> None:
    """``arms.json``: the runs that belong to the comparison, and its facts."""
    content = {"cells": [cell._asdict() for cell in cells], "info": dict(info)}
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"The facts for {folder} must be plain JSON values: {error}.") from error
    write_whole(folder / PLAN_FILE, text)


def read_comparison(folder: str | Path) -> Comparison:
    """What a comparison, finished or not, has given so far.

    Raises: DataError for a folder without one, a damaged result, or arms that were not run on the same data.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        cells = tuple(Cell(**cell) for cell in content["cells"])
        info = dict(content["info"])
    except FileNotFoundError:
        raise DataError(f"There is no comparison in {folder}; give the folder of one.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{folder / PLAN_FILE} is damaged ({error!r}); start the comparison again in this folder: runs that "
            "are finished are kept."
        ) from error
    outcomes = {cell: found for cell in cells if (found := read_outcome(_folder(folder, cell))) is not None}
    check_same_data(outcomes)
    return Comparison(folder, cells, outcomes, info)


def check_same_data(outcomes: Mapping[Cell, Outcome]) -> None:
    """Refuse arms that were not trained and scored on the same rows, or by the same metric.

    Raises: DataError naming arms, seed and splits.
    """
    first: dict[int, tuple[Cell, Outcome]] = {}
    for cell, outcome in outcomes.items():
        before, known = first.setdefault(cell.seed, (cell, outcome))
        other = sorted(
            split
            for split in {*known.data, *outcome.data}
            if known.data.get(split) != outcome.data.get(split)
        )
        if other:
            raise DataError(
                f"The runs of {before} and {cell} do not have the same data ({', '.join(other)} differs), so their "
                "difference would not be the method's; compare them in two comparisons, or let the arms share their "
                "data."
            )
        names = [{metric["name"] for metric in found.metrics[:1]} for found in (known, outcome)]
        scored = {row.metric for row in outcome.rows}
        if names[0] != names[1] or not names[0] <= scored:
            raise DataError(
                f"The run of {cell} lacks the metric {some(names[0], 1)} by which {before} is scored; score all arms "
                "by the same."
            )


def _in_order(work: Sequence[Any], bar: RunsBar) -> Iterator[Cell]:
    """One after the other in this process."""
    for task in work:
        bar.start(str(task[2]))
        yield run_cell(*task)


def _in_processes(work: Sequence[Any], jobs: int, threads: int, bar: RunsBar) -> Iterator[Cell]:
    """Several at a time; the first failure stops the rest, and what has finished is kept."""
    import multiprocessing

    others = set(multiprocessing.active_children())
    with (
        pinned(threads),
        ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        running = [pool.submit(run_cell, *task) for task in work]
        bar.start(f"{min(jobs, len(work))} runs at a time")
        try:
            for future in as_completed(running):
                yield future.result()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # which may have reached this process alone
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def run_cell(run: Run, arm: Arm, cell: Cell, folder: Path, threads: int) -> Cell:
    """One run from its start, in its own folder; what an interrupted one left there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with one_of_many(threads):
        outcome = run(arm, cell.control, cell.seed, folder)
    _check(outcome.rows, cell)
    write_outcome(folder, outcome)
    return cell


def config_hash(config: Mapping[str, Any]) -> str:
    """A short hash of plain values that does not depend on the order of keys."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _folder(folder: Path, cell: Cell) -> Path:
    return folder / RUNS_FOLDER / cell.folder_name


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


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"A comparison needs at least 1 for {name}; it is {value}.")


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
