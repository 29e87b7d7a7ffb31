"""Tasks of lm-evaluation-harness by name: found, looked at before anything of them runs, and read with their data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, DataError, LimbeckError, UnknownNameError, close_names, first_line

Spec = Mapping[str, Any]  # a task's settings, as its YAML file has them


def read_tasks(names: Sequence[str], include_path: str | Path | None = None) -> tuple[dict, dict]:
    """Tasks by name with their data, and the groups among ``names``, each as lm-eval has it.

    Args:
        names: tasks, groups or tags.    include_path: a folder of tasks of one's own, which go before lm-eval's.
    Raises: UnknownNameError; ConfigError for a task that is nothing for a student of texts; DataError for one whose
        data cannot be had, or that fails.
    """
    manager = _manager(names, include_path)
    for name in names:
        if name not in manager.task_index:
            raise UnknownNameError(_unknown(name, manager.all_tasks, include_path))
    reached = {name: list(_reached(name, manager.task_index)) for name in names}
    for specs in reached.values():
        for task, spec in specs:
            check_spec(task, spec)
    tasks, groups = {}, {}
    for name in names:
        with _failing(name, [spec for _, spec in reached[name]]), _own_metrics():
            found = manager.load([name])
        tasks.update(found["tasks"])
        groups.update(found.get("groups", {}))
    return tasks, groups


def check_spec(name: str, spec: Spec) -> None:
    """Refuse what would run code from elsewhere, or needs more than texts.

    Raises: ConfigError.
    """
    from lm_eval.api.registry import metric_registry

    if (spec.get("dataset_kwargs") or {}).get("trust_remote_code"):
        raise ConfigError(
            f"The task {name!r} asks for trust_remote_code: the code of its data set would run here, which is refused; "
            "save the rows as a file of your own, and write a task that reads it (--include-path)."
        )
    if spec.get("unsafe_code"):
        raise ConfigError(
            f"The task {name!r} runs the code that the student writes, which is refused; take another."
        )
    if spec.get("doc_to_image") or spec.get("doc_to_audio"):
        raise ConfigError(
            f"The task {name!r} shows pictures or sounds; a student that writes reads texts alone."
        )
    for entry in spec.get("metric_list") or ():
        metric = entry.get("metric")
        is_elsewhere = entry.get("hf_evaluate") or (isinstance(metric, str) and metric not in metric_registry)
        if is_elsewhere and not spec.get("process_results"):
            raise ConfigError(
                f"The metric {metric!r} of the task {name!r} is a program that would be fetched from the Hugging Face "
                "hub, which is refused; take a metric of lm-eval's own, or another task."
            )


def _manager(names: Sequence[str], include_path: str | Path | None) -> Any:
    """lm-eval's list of tasks; a folder that holds all that is asked for alone, as the list of all takes seconds."""
    import lm_eval.api.metrics  # noqa: F401 which registers them
    from lm_eval.tasks import TaskManager

    if include_path is None:
        return TaskManager()
    if not Path(include_path).is_dir():
        raise DataError(f"'{include_path}' is no folder; --include-path names one with tasks in YAML files.")
    own = TaskManager(include_path=str(include_path), include_defaults=False)
    is_whole = all(name in own.task_index and _is_whole(name, own.task_index) for name in names)
    return own if is_whole else TaskManager(include_path=str(include_path))


def _is_whole(name: str, index: Mapping[str, Any]) -> bool:
    """Whether a group names tasks of its own folder only."""
    asked = [spec.get("task") for _, spec in _reached(name, index)]
    members = [member for tasks in asked if isinstance(tasks, list) for member in tasks]
    return all(member in index for member in members if isinstance(member, str))


def _reached(
    name: str, index: Mapping[str, Any], over: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Spec]]:
    """A task, or all that stands in a group or under a tag, with its settings."""
    entry = index.get(name)
    if entry is None or name in over:
        return
    for member in sorted(entry.tags) if entry.cfg is None else ():
        yield from _reached(member, index, over | {name})
    if entry.cfg is not None:
        yield name, entry.cfg
        yield from _members(entry.cfg, index, over | {name})


def _members(spec: Spec, index: Mapping[str, Any], over: frozenset[str]) -> Iterator[tuple[str, Spec]]:
    for member in spec["task"] if isinstance(spec.get("task"), list) else ():
        if isinstance(member, str):
            yield from _reached(member, index, over)
        elif isinstance(member, Mapping):  # with settings of its own, or a group that stands here alone
            called = str(member.get("group") or member.get("task"))
            yield called, member
            yield from _reached(called, index, over)
            yield from _members(member, index, over)


def _unknown(name: str, known: Sequence[str], include_path: str | Path | None) -> str:
    close = close_names(name, known)
    near = (
        "did you mean " + " or ".join(map(repr, close)) + "?" if close else "`lm_eval ls tasks` lists them."
    )
    where = "" if include_path is None else f", nor is there one in {include_path}"
    return f"lm-eval has no task {name!r}{where}; {near}"


@contextlib.contextmanager
def _failing(name: str, specs: Sequence[Spec]) -> Iterator[None]:
    """Whatever stops a task from being read, as one sentence."""
    try:
        yield
    except LimbeckError:
        raise
    except Exception as error:  # lm-eval, datasets and a task's own code raise what they like
        raise DataError(_told(name, error, specs)) from error


def _told(name: str, error: Exception, specs: Sequence[Spec]) -> str:
    reason = first_line(error)
    data = sorted({str(spec["dataset_path"]) for spec in specs if spec.get("dataset_path")})
    reads = f"The task {name!r} reads {', '.join(data[:3]) or 'data'}"
    if isinstance(error, ConnectionError):
        return (
            f"{reads} of the Hugging Face hub, which cannot be reached; run it once where there is a network (the data "
            "are kept), or take a task that reads files (--include-path)."
        )
    if "scripts are no longer supported" in reason:
        return (
            f"{reads}, a data set that brings code of its own, which is not run; save its rows as a file, and write a "
            "task that reads it (--include-path)."
        )
    if isinstance(error, ModuleNotFoundError):
        return f"The task {name!r} needs the package {error.name!r}; install it, or take another task."
    if isinstance(error, FileNotFoundError):
        return f"{reads}, which is not there ({reason}); data files are named from where you start, or whole."
    return f"lm-eval cannot read the task {name!r} ({reason}); mend its YAML file or its data."


@contextlib.contextmanager
def _own_metrics() -> Iterator[None]:
    """Inside, the package evaluate fetches no metric from the hub: each is a program."""
    from evaluate import config

    before, config.HF_EVALUATE_OFFLINE = config.HF_EVALUATE_OFFLINE, True
    try:
        yield
    finally:
        config.HF_EVALUATE_OFFLINE = before
