"""Problems by name: those that ship, and those that packages register (entry points ``limbeck.problems``)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

if TYPE_CHECKING:
    from limbeck.problems.base import Problem

# Kind to its file and class.
PROBLEMS: dict[str, str] = {
    "choice": "limbeck.problems.choice:Choice",
    "classification": "limbeck.problems.classification:Classification",
    "denoising": "limbeck.problems.denoising:Denoising",
    "embedding": "limbeck.problems.embedding:Embedding",
    "generation": "limbeck.problems.generation:Generation",
    "multilabel": "limbeck.problems.multilabel:MultiLabel",
    "regression": "limbeck.problems.regression:Regression",
    "segmentation": "limbeck.problems.segmentation:Segmentation",
    "token_classes": "limbeck.problems.token_classes:TokenClasses",
}
GROUP = "limbeck.problems"


def problem_class(kind: str) -> type[Problem]:
    """The class of a kind of problem; UnknownNameError names the nearest."""
    if kind in PROBLEMS:
        module, _, name = PROBLEMS[kind].partition(":")
        return getattr(importlib.import_module(module), name)
    registered = {entry.name: entry for entry in entry_points(group=GROUP)}
    if kind not in registered:
        raise UnknownNameError(
            f"There is no problem {kind!r}; {nearest(str(kind), {*PROBLEMS, *registered})}"
        )
    return registered[kind].load()


def problem(spec: str | Mapping[str, Any], names: Sequence[str]) -> Problem:
    """A problem from a kind, or ``{"kind": ..., setting: value}``, and the names of its outputs.

    Raises: UnknownNameError, ConfigError for a kind or a setting that does not exist.
    """
    kind, settings = split_spec(spec)
    cls = problem_class(kind)
    known = {f.name: f.default for f in fields(cls) if f.name != "names"}
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(f"The problem {kind!r} has no setting {name!r}; {nearest(name, known)}")
        if not _fits(value, known[name]):
            raise ConfigError(
                f"The setting {name!r} of the problem {kind!r} is like {known[name]!r}; it is {value!r}."
            )
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return cls(tuple(names), **settings)


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of the default; one of None may be anything."""
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple))
    return default is None or default is MISSING or type(value) is type(default)


def sized(asked: Problem | str, n: int | None) -> Problem:
    """A problem itself, or that of a kind with ``n`` outputs that have no names; ConfigError where ``n`` is missing."""
    if not isinstance(asked, str):
        return asked
    if n is None:
        raise ConfigError("A model needs a problem, or the number of classes (n_classes).")
    return problem_class(asked)(tuple(map(str, range(n))))


def split_spec(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Kind and settings of a problem as a recipe writes it."""
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or "kind" not in spec:
        raise ConfigError(f"A problem is a name, or {{kind: NAME, ...}}; it is {spec!r}.")
    return str(spec["kind"]), {name: value for name, value in spec.items() if name != "kind"}
