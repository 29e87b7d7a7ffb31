"""What a student that writes scores on tasks of lm-evaluation-harness (extra ``eval``)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.errors import ConfigError, DataError, LimbeckError, first_line
from limbeck.evaluation.harness.model import harness_model
from limbeck.evaluation.harness.tasks import read_tasks
from limbeck.students.export.exported import load_exported
from limbeck.students.text import load_tokenizer
from limbeck.teachers.hf.loading import check_device

SEED = 1234  # of examples and drawn answers, as lm-eval's own command has it
DRAWS = 1000  # of the bootstrap, where a standard error has no formula


@dataclass(frozen=True)
class HarnessScore:
    """One metric of one task.

    Args:
        task: or group of tasks.    metric: as lm-eval calls it.    filter: of the answers; ``none``.
        value, error: and its standard error, None where lm-eval has none.
        rows: that were scored, of ``of`` rows.    shots: examples in the prompt.
        version: of the task.    higher_is_better: None where the task does not say.
    """

    task: str
    metric: str
    filter: str
    value: float
    error: float | None
    rows: int | None
    of: int | None
    shots: int | None
    version: str
    higher_is_better: bool | None


def harness_scores(
    student: str | Path,
    tasks: Sequence[str],
    *,
    include_path: str | Path | None = None,
    limit: int | None = None,
    num_fewshot: int | None = None,
    batch_size: int = 16,
    device: str | None = None,
) -> list[HarnessScore]:
    """The scores of an exported student that writes, asked in its own way: in its chat template and behind its system
    message, where it was trained so.

    Args:
        student: its folder.    tasks: names of tasks, groups or tags.
        include_path: a folder with tasks of one's own; they are run as code, see SECURITY.md.
        limit: only the first rows of each task.    num_fewshot: examples in the prompt; None = as the task says.
        device: None = ``cuda`` where there is one.
    Raises: ConfigError without the extra, for a student that does not write, and for a task that it cannot be asked;
        UnknownNameError; DataError for a folder, a task or data that cannot be used.
    """
    check_harness()
    exported = load_exported(student)
    if not exported.problem.writes:
        raise ConfigError(
            f"The student in {student} answers a {exported.problem.kind} and does not write, so lm-eval cannot ask it; "
            "its own scores are in metrics.json and report.html of its run."
        )
    check_device(device)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    told_to = sys.stderr
    with _quiet_harness(), _seeded():
        found, groups = read_tasks(tasks, include_path)
        model = harness_model(exported, load_tokenizer(student), device, batch_size, told_to=told_to)
        for task in found.values():
            _set_shots(task, num_fewshot)
        said = _evaluated(model, {"tasks": found, "groups": groups}, exported.problem, limit)
    return _scores(said)


def check_harness() -> None:
    """Raises ConfigError where the package that asks the tasks is missing."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            "The tasks of lm-evaluation-harness need the package lm-eval; install it with: pip install 'limbeck[eval]'."
        )


def _set_shots(task: Any, num_fewshot: int | None) -> None:
    own = task.get_config("num_fewshot")
    if own is None or (num_fewshot is not None and own != 0):  # 0 says that a task takes none
        task.set_config(key="num_fewshot", value=num_fewshot or 0)
    task.set_fewshot_seed(seed=SEED)


def _evaluated(model: Any, tasks: Mapping[str, Any], problem: Any, limit: int | None) -> Mapping[str, Any]:
    from lm_eval.evaluator import evaluate

    try:
        return evaluate(
            model,
            tasks,
            limit=limit,
            bootstrap_iters=DRAWS,
            log_samples=False,
            apply_chat_template=problem.chat,
            system_instruction=problem.system or None,
            fewshot_as_multiturn=problem.chat,
        )
    except LimbeckError:
        raise
    except Exception as error:  # lm-eval and a task's own code raise what they like
        reason = first_line(error)
        raise DataError(
            f"lm-eval stopped at {', '.join(tasks['tasks'])} ({reason}); mend the task, or leave it out."
        ) from error


def _scores(said: Mapping[str, Any]) -> list[HarnessScore]:
    found = []
    for task, values in said["results"].items():
        rows = said["n-samples"].get(task, {})
        for name, value in values.items():
            metric, comma, kept = name.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                continue
            error = values.get(f"{metric}_stderr,{kept}")
            found.append(
                HarnessScore(
                    task,
                    metric,
                    kept,
                    float(value),
                    float(error) if isinstance(error, (int, float)) else None,
                    rows.get("effective", values.get("sample_len")),
                    rows.get("original"),
                    said["n-shot"].get(task),
                    str(said["versions"].get(task, "")),
                    said["higher_is_better"].get(task, {}).get(metric),
                )
            )
    return found


@contextlib.contextmanager
def _quiet_harness() -> Iterator[None]:
    """Inside, what lm-eval and datasets print and log beside results is not shown."""
    from datasets.utils import logging as of_datasets

    logger = logging.getLogger("lm_eval")
    level, bars = logger.level, not of_datasets.is_progress_bar_enabled()
    logger.setLevel(logging.CRITICAL)
    of_datasets.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        if not bars:
            of_datasets.enable_progress_bar()


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Inside, all generators start from one seed; afterwards they are where they were."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 what tasks draw from
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        random.seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002
        torch.manual_seed(SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)  # noqa: NPY002
