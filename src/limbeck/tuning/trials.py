"""Trials of one arm, chosen by Optuna and judged by validation alone; each is kept as soon as it is done."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limbeck.errors import ConfigError, DataError, NonFiniteError
from limbeck.evaluation.threads import one_of_many
from limbeck.files import write_whole
from limbeck.tuning.space import Space

if TYPE_CHECKING:
    import optuna

TRIALS_FILE = "trials.json"
SAMPLER_SEED = 0  # of every arm: none has luckier draws than another


@dataclass(frozen=True)
class Trial:
    """One run with some values.

    Args:
        values: key to value.    score: of validation, by the deciding metric; None where the run gave none.
        seconds: wall time of the run.    failed: why it gave none.
    """

    values: Mapping[str, Any]
    score: float | None
    seconds: float
    failed: str = ""


def check_optuna() -> None:
    """ConfigError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ConfigError("Tuning needs Optuna; install it with: pip install 'limbeck[tune]'.") from error


def run_trials(
    score: Callable[[Mapping[str, Any], Path], float],
    space: Space,
    n: int,
    *,
    folder: Path,
    better: Literal["higher", "lower"],
    identity: str,
    threads: int = 1,
    done: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """``n`` trials in ``space``, those of an earlier start taken from ``trials.json``.

    A sampler with one seed that is told the same scores asks for the same values, so what is resumed is what would have
    come without a stop, and ten trials begin with the five of an earlier start.

    Args:
        score: of a run with those values, in a folder of its own.
        folder: of the arm.    better: which scores are.
        identity: of everything else that decides a score; trials of another are begun anew.
        threads: of a run.    done: called after each trial.

    Raises: DataError for a damaged ``trials.json``.
    """
    check_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=SAMPLER_SEED)
    study = optuna.create_study(sampler=sampler, direction="maximize" if better == "higher" else "minimize")
    folder.mkdir(parents=True, exist_ok=True)
    kept, trials = _read(folder, identity), list[Trial]()
    for number in range(n):
        asked = study.ask()
        values = {key: what.draw(key, asked) for key, what in space.items()}
        if number < len(kept) and kept[number].values == values:
            trial = kept[number]
        else:  # what follows was asked for after other scores
            kept = kept[:number]
            trial = _run(score, values, folder / f"trial-{number}", threads)
        trials.append(trial)
        _write(folder, identity, [*trials, *kept[number + 1 :]])
        _tell(study, asked, trial)
        done()
    return trials


def best_trial(trials: Sequence[Trial], better: Literal["higher", "lower"]) -> Trial | None:
    """The first of those with the best score; None where no trial gave one."""
    scored = [(trial.score, trial) for trial in trials if trial.score is not None]
    if not scored:
        return None
    best = (max if better == "higher" else min)(score for score, _ in scored)
    return next(trial for score, trial in scored if score == best)


def _run(
    score: Callable[[Mapping[str, Any], Path], float], values: Mapping[str, Any], folder: Path, threads: int
) -> Trial:
    """One trial from its start; values with which a training overflows are no reason to stop the others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.perf_counter()
    found, failed = None, ""
    with one_of_many(threads):
        try:
            found = score(values, folder)
        except NonFiniteError as error:
            failed = str(error)
    return Trial(values, found, time.perf_counter() - start, failed)


def _tell(study: optuna.Study, asked: optuna.Trial, trial: Trial) -> None:
    from optuna.trial import TrialState

    if trial.score is None:
        study.tell(asked, state=TrialState.FAIL)
    else:
        study.tell(asked, trial.score)


def _write(folder: Path, identity: str, trials: Sequence[Trial]) -> None:
    content = {"identity": identity, "trials": [asdict(trial) for trial in trials]}
    write_whole(folder / TRIALS_FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _read(folder: Path, identity: str) -> list[Trial]:
    """Trials of an earlier start that asked the same."""
    path = folder / TRIALS_FILE
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [Trial(**trial) for trial in content["trials"]] if content["identity"] == identity else []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error!r}); delete it to run its trials again.") from error
