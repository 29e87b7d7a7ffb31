"""Presets: published systems that change values of a family, not its formulas. Data, read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A named system.

    Args:
        paper: authors, where, and the section or equation.
        fixed: settings that make it what it is; refused when given.
        defaults: settings that may be changed.
        row: its line in the list of systems (``docs/systems.md``), None where it has none.
        chain: the shipped chain that runs it, where it needs stages.
    """

    paper: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    row: int | None = None
    chain: str | None = None
