"""Problems by name: those that ship, and those that packages register (entry points ``limbeck.problems``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

if TYPE_CHECKING:
    from limbeck.problems.base import Problem

# Kind to its file and class.
PROBLEMS: dict[str, str] = {
    "choice": "limbeck.problems.choice:Choice",
    "classification": "limbeck.problems.classification:Classification",
    "multilabel": "limbeck.problems.multilabel:MultiLabel",
    "regression": "limbeck.problems.regression:Regression",
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
    known = [f.name for f in fields(cls) if f.name != "names"]
    for name in settings:
        if name not in known:
            raise ConfigError(f"The problem {kind!r} has no setting {name!r}; {nearest(name, known)}")
    return cls(tuple(names), **settings)


def split_spec(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Kind and settings of a problem as a recipe writes it."""
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or "kind" not in spec:
        raise ConfigError(f"A problem is a name, or {{kind: NAME, ...}}; it is {spec!r}.")
    return str(spec["kind"]), {name: value for name, value in spec.items() if name != "kind"}
