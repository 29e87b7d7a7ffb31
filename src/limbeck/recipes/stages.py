"""The record of a chain, ``chain.json``: which stages there are, what decided each, and what came out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from limbeck.files import write_whole

CHAIN_FILE = "chain.json"
FORMAT = 1


@dataclass(frozen=True)
class StageRecord:
    """One stage.

    Args:
        state: ``running`` (perhaps killed since) or ``finished``.
        settings: what decides its result, plain values by dotted name.
        inputs: stages whose networks or banks it uses, to the digest of what they shipped.
        digest: of what it shipped; empty while it runs.
        facts: for people, see :func:`stage_facts`.
    """

    state: Literal["running", "finished"]
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of settings and inputs: two stages of the same fingerprint have the same result."""
        text = json.dumps([self.settings, self.inputs], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def stage_facts(
    name: str,
    *,
    method: str,
    data: str,
    metric: str,
    scores: Mapping[str, float],
    steps: int,
    seconds: float,
    uses: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a report and a model card say of a stage.

    Args:
        metric: the one that decides.    scores: it, by split.
        steps: optimiser steps.    seconds: of the training (of a stage that was killed, since it went on).
        uses: stage to what of it is used: ``weights``, ``teacher``, ``bank``, ``method``.
    """
    return {
        "stage": name,
        "method": method,
        "data": data,
        "uses": dict(uses or {}),
        "metric": metric,
        "scores": {split: value if math.isfinite(value) else None for split, value in scores.items()},
        "steps": steps,
        "seconds": seconds,
    }


def read_records(folder: Path) -> dict[str, StageRecord]:
    """Stage to its record, in order; none where there is no readable ``chain.json``, so that nothing is taken for
    finished that may not be."""
    try:
        content = json.loads((folder / CHAIN_FILE).read_bytes())
        known = {f.name for f in fields(StageRecord)}
        return {
            name: StageRecord(**{key: value for key, value in entry.items() if key in known})
            for name, entry in content["stages"].items()
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_records(folder: Path, records: Mapping[str, StageRecord]) -> None:
    """Write all records, whole or not at all."""
    stages = {name: {"fingerprint": record.fingerprint, **asdict(record)} for name, record in records.items()}
    text = json.dumps({"format": FORMAT, "stages": stages}, indent=1, default=str)
    write_whole(folder / CHAIN_FILE, text + "\n")


def differences(had: Mapping[str, Any], have: Mapping[str, Any]) -> str:
    """Which settings differ, three of them by name and value."""
    absent = object()
    names = [name for name in {**had, **have} if had.get(name, absent) != have.get(name, absent)]
    told = [f"{_told(had, name)} and now has {_told(have, name)}" for name in names[:3]]
    return ", ".join(told) + (f", and {len(names) - 3} more" if len(names) > 3 else "")


def _told(settings: Mapping[str, Any], name: str) -> str:
    return f"{name}={settings[name]!r}" if name in settings else f"no {name}"
